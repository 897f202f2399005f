/** What goes wrong with a machine, while a gateway runs and when it starts: it says so, and goes on by itself. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { connect } from 'node:tls'
import { loadAuthority, makeAuthority, type Authority } from '@sotto/certs/authority.ts'
import { ensureLeaf, namesOf } from '@sotto/certs/leaf.ts'
import { execa } from 'execa'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDisk, type Disk } from './lab/disk.ts'
import {
  joinOverlay,
  sotto,
  startGateway,
  startStandIn,
  temporaryDirectory,
  trust,
  type RunningGateway,
} from './lab/gateway.ts'
import { createLab, type Host, type Lab } from './lab/lab.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** Generous: the machine may be slow. */
const soon = { timeout: 60_000, interval: 250 }

/** A command beside the gateway, which does what it is told. */
async function run(state: string, ...args: string[]) {
  const { stdout, stderr } = await sotto(...args, '--state', state, '--json')
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout)
}

interface Found {
  readonly code: string
  readonly status: string
  readonly message: string
  readonly remedy?: string
}

async function diagnosed(state: string, code: string): Promise<Found | undefined> {
  const { findings } = await run(state, 'doctor')
  return findings.find((one: Found) => one.code === code)
}

describe('the disk of the state', () => {
  let disk: Disk
  let state: string
  let config: string
  let ollama: { readonly url: string; stop(): Promise<void> }
  beforeEach(async () => {
    disk = await createDisk()
    closers.push(disk.close)
    state = join(disk.path, 'state')
    ollama = await startStandIn(undefined, 'ollama')
    closers.push(ollama.stop)
    // A service that nothing answers: each request to it has a line in the log.
    config = join(disk.path, 'config.yaml')
    const gone = { name: 'gone', upstream: 'http://127.0.0.1:9', paths: ['/x'], methods: ['POST'] }
    await writeFile(config, JSON.stringify({ services: [gone] }))
  })

  const start = async (): Promise<RunningGateway> => {
    const gateway = await startGateway(
      undefined,
      state,
      '--loopback',
      '--port',
      '0',
      '--ollama',
      ollama.url,
      '--endpoint',
      '192.0.2.1',
      '--config',
      config,
    )
    closers.push(gateway.stop)
    await trust(state)
    return gateway
  }
  const ask = async ({ origins: [origin] }: RunningGateway, path: string, key?: string) => {
    const answer = await fetch(`${origin}${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
      },
      body: JSON.stringify({
        model: 'stand-in',
        stream: false,
        messages: [{ role: 'user', content: 'one two' }],
      }),
    })
    return {
      status: answer.status,
      id: answer.headers.get('x-request-id'),
      retryAfter: Number(answer.headers.get('retry-after')),
      body: await answer.json(),
    }
  }
  const audited = async (): Promise<(string | null)[]> => {
    const { requests } = await run(state, 'audit', '--limit', '1000')
    return requests.map((row: { request_id: string }) => row.request_id)
  }

  it('that is full: what must be written is refused in words, the rest is answered, and room is enough for all to go on', async () => {
    const gateway = await start()
    const { secret } = await run(state, 'key', 'add', 'budgeted')
    await run(state, 'limit', 'key:budgeted', '--tokens-per-day', '100000')
    const answered = [await ask(gateway, '/api/chat'), await ask(gateway, '/api/chat', secret)]
    await expect.poll(audited, soon).toEqual(expect.arrayContaining(answered.map(({ id }) => id)))
    await disk.fill()

    // A budget is never overspent, so nothing goes on that can't be written down first.
    const refused = async (path: string) => {
      await expect.poll(async () => (await ask(gateway, path, secret)).status, soon).toBe(503)
      return ask(gateway, path, secret)
    }
    const words = /disk is full.*by itself/
    const openai = await refused('/v1/chat/completions')
    expect(openai).toMatchObject({ body: { error: { message: expect.stringMatching(words) } } })
    expect(openai.retryAfter).toBeGreaterThan(0)
    expect(await refused('/api/chat')).toMatchObject({ body: { error: expect.stringMatching(words) } })
    // Who has no budget is answered: the rows wait in memory.
    for (let count = 0; count < 20; count += 1) {
      const one = await ask(gateway, '/api/chat')
      expect(one).toMatchObject({ status: 200, body: { message: { content: expect.any(String) } } })
      answered.push(one)
    }
    // Each of these has a line in a log that has no room for it, which ended the process.
    for (let count = 0; count < 40; count += 1)
      expect((await ask(gateway, '/services/gone/x')).status).toBeGreaterThanOrEqual(500)
    expect((await sotto('tenant', 'add', 'late', '--state', state)).stderr).toMatch(
      /disk of .* is full[\s\S]*→ Free some space/,
    )

    const told = { status: 'failed', remedy: expect.stringContaining(`df -h ${state}`) }
    await expect.poll(() => diagnosed(state, 'troubles'), soon).toMatchObject(told)
    expect(await diagnosed(state, 'disk_space')).toMatchObject(told)
    expect(await diagnosed(state, 'gateway')).toMatchObject({ status: 'ok' })
    expect((await sotto('status', '--state', state)).stdout).toMatch(/✘ The disk of .* is full[\s\S]*df -h/)
    expect(gateway.said()).toMatch(/is full/)
    const overview = await fetch(`${gateway.origins[0]}/sotto/admin/overview`)
    expect(await overview.json()).toMatchObject({ troubles: [{ kind: 'disk_full', over: false }] })

    await disk.free()
    await expect.poll(async () => (await ask(gateway, '/api/chat', secret)).status, soon).toBe(200)
    await expect.poll(audited, soon).toEqual(expect.arrayContaining(answered.map(({ id }) => id)))
    await expect.poll(async () => (await run(state, 'status')).troubles, soon).toEqual([])
    await run(state, 'tenant', 'add', 'late')
    await gateway.stop()
    expect((await gateway.process).exitCode).toBe(0)
    const log = (await readFile(join(state, 'gateway.log'), 'utf8')).trim().split('\n')
    expect(log.map((line) => JSON.parse(line).msg)).toContain('the ledger could not be written')
    expect(log.length).toBeGreaterThan(40)
    await start()
    expect(await audited()).toEqual(expect.arrayContaining(answered.map(({ id }) => id)))
  })

  it('that fails and becomes read-only: it says so, and after a repair all that was acknowledged is there', async () => {
    const gateway = await start()
    const { secret } = await run(state, 'key', 'add', 'budgeted')
    await run(state, 'limit', 'key:budgeted', '--tokens-per-day', '100000')
    const { id } = await ask(gateway, '/api/chat', secret)
    await expect.poll(audited, soon).toContain(id)
    await disk.fail()

    await expect.poll(async () => (await ask(gateway, '/api/chat', secret)).status, soon).toBe(503)
    expect((await ask(gateway, '/api/chat', secret)).body).toMatchObject({
      error: expect.stringMatching(/disk can’t be written to/),
    })
    expect((await ask(gateway, '/api/chat')).status).toBe(200)
    const told = { status: 'failed', remedy: expect.stringMatching(/dmesg.*remount,rw.*fsck/) }
    await expect.poll(() => diagnosed(state, 'troubles'), soon).toMatchObject(told)
    expect(await diagnosed(state, 'disk_space')).toMatchObject(told)
    expect((await sotto('tenant', 'add', 'late', '--state', state)).stderr).toMatch(
      /can’t be written to.*\n.*fsck/,
    )
    await gateway.stop()

    await disk.repair()
    await start()
    expect(await audited()).toContain(id)
    expect((await run(state, 'key', 'list')).keys).toMatchObject([{ name: 'budgeted', state: 'active' }])
  })

  it('that is full or read-only when the gateway starts: it says what to do, and changes nothing', async () => {
    await (await start()).stop()
    await disk.fill()
    await expect(start()).rejects.toThrow(/disk of .* is full[\s\S]*→ Free some space: df -h/)
    await disk.free()
    await disk.remount('ro')
    await expect(start()).rejects.toThrow(/can’t be written to: it is read-only[\s\S]*→ .*remount,rw/)
    expect(
      (await sotto('doctor', '--state', state)).stdout + (await sotto('doctor', '--state', state)).stderr,
    ).toMatch(/can’t be written to/)
    await disk.remount('rw')
    expect((await ask(await start(), '/api/chat')).status).toBe(200)
  })
})

describe('the interface of the overlay', () => {
  let lab: Lab
  let state: string
  let directory: string
  let gateway: RunningGateway
  beforeEach(async () => {
    lab = await createLab()
    closers.push(lab.close)
    const folder = await temporaryDirectory()
    directory = folder.path
    closers.push(folder.remove)
    state = join(directory, 'state')
    const ollama = await startStandIn(lab.hub, 'ollama')
    closers.push(ollama.stop)
    gateway = await startGateway(lab.hub, state, '--endpoint', lab.hub.address4, '--ollama', ollama.url)
    closers.push(() => gateway.stop())
  })

  const killItsMaker = async (name: string): Promise<void> => {
    const { stdout } = await execa`ip netns pids ${lab.hub.name}`
    for (const pid of stdout.split('\n')) {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      if (command === `wireguard-go\0-f\0${name}\0`) process.kill(Number(pid), 'SIGKILL')
    }
  }
  const ways = {
    'is deleted': (name: string) => lab.hub.run('ip', 'link', 'delete', name),
    'goes with the wireguard-go that made it': killItsMaker,
    'loses its addresses': (name: string) => lab.hub.run('ip', 'address', 'flush', 'dev', name),
    'is set down': (name: string) => lab.hub.run('ip', 'link', 'set', name, 'down'),
  }

  it(`comes back by itself with all its peers, and streams go on, where it ${Object.keys(ways).join(', or ')}`, async () => {
    await joinOverlay(lab.device, directory, gateway.firstDevice?.config ?? '')
    const file = join(directory, 'tablet.conf')
    await sotto('device', 'add', 'tablet', '--out', file, '--state', state)
    await joinOverlay(lab.neighbour, directory, await readFile(file, 'utf8'), 'b')
    const curl = (host: Lab['device'], path: string, ...args: string[]) =>
      host.run(
        'curl',
        '-sS',
        '--max-time',
        '60',
        '--cacert',
        join(state, 'certs', 'root.crt'),
        `${gateway.origins[path.startsWith('/6') ? 1 : 0]}${path.replace('/6', '')}`,
        ...args,
      )
    // In the hub's own network, as its admin has it.
    const say = async (...args: string[]) =>
      (await lab.hub.run(process.execPath, 'sotto.ts', ...args, '--state', state)).stdout
    const name = JSON.parse(await say('status', '--json')).interface.name
    const prompt = Array.from({ length: 300 }, (_, at) => `word${at}`).join(' ')
    const { overlay } = gateway
    const byKernel = 'implementation' in overlay && overlay.implementation === 'kernel'
    for (const [how, doIt] of Object.entries(ways)) {
      // A kernel's own interface has nobody who could be killed.
      if (doIt === killItsMaker && byKernel) continue
      const stream = curl(lab.device, '/api/generate', '-d', JSON.stringify({ model: 'stand-in', prompt }))
      await pause(1_000)
      const before = gateway.said().match(/mended/g)?.length ?? 0
      await doIt(name)
      for (const host of [lab.device, lab.neighbour])
        for (const path of ['/healthz', '/6/healthz'])
          await expect.poll(async () => (await curl(host, path, '--max-time', '3')).stdout, soon).toBe('ok')
      const { stdout, exitCode } = await stream
      expect({ how, exitCode, last: stdout.trim().split('\n').at(-1) }).toMatchObject({
        exitCode: 0,
        last: expect.stringContaining('"done":true'),
      })
      await expect.poll(() => gateway.said().match(/mended/g)?.length ?? 0, soon).toBeGreaterThan(before)
      expect((await lab.hub.run('wg', 'show', name, 'peers')).stdout.split('\n'), how).toHaveLength(2)
    }
    expect(await say('status')).toMatch(/· The WireGuard interface had been changed from outside: mended/)
    expect(await say('doctor')).toMatch(/! Troubles .*interface had been changed from outside: mended/)
  })
})

describe('a certificate that has ended while the machine was off', () => {
  const days = 86_400_000
  let state: string
  let certs: string
  let permitted: Authority['permitted']
  /** Of the gateway's own leaf. */
  let names: readonly string[]
  beforeEach(async () => {
    const folder = await temporaryDirectory()
    closers.push(folder.remove)
    state = join(folder.path, 'state')
    certs = join(state, 'certs')
    const { stop } = await start()
    await stop()
    ;({ permitted } = await loadAuthority(certs))
    names = namesOf(await readFile(join(certs, 'leaf.crt'), 'utf8'))
    await rm(certs, { recursive: true })
    await mkdir(certs)
  })

  const start = async () => {
    const options = ['--loopback', '--port', '0', '--ollama', 'http://127.0.0.1:9', '--endpoint', '192.0.2.1']
    const gateway = await startGateway(undefined, state, ...options)
    closers.push(gateway.stop)
    return gateway
  }
  /** Until when the certificate holds that a client is shown; rejects for one that it can't trust. */
  const shown = async ({ origins: [origin = ''] }: RunningGateway): Promise<Date> => {
    const ca = await readFile(join(certs, 'root.crt'))
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(origin).port), ca })
    await new Promise((settle, fail) => socket.once('secureConnect', settle).once('error', fail))
    const { valid_to: until } = socket.getPeerCertificate()
    socket.destroy()
    return new Date(until)
  }

  it('as a leaf is renewed before anything is served', async () => {
    const now = new Date(Date.now() - 100 * days)
    const authority = await makeAuthority(certs, { name: 'Old', permitted, now })
    const leaf = await ensureLeaf(authority, certs, { names, now })
    expect(leaf.notAfter < new Date()).toBe(true)
    expect((await shown(await start())) > new Date(Date.now() + 80 * days)).toBe(true)
    expect(await diagnosed(state, 'certificates')).toMatchObject({ status: 'ok' })
  })

  it('as the intermediate is renewed by the command that is said, and devices need nothing new', async () => {
    const { fingerprint } = await makeAuthority(certs, {
      name: 'Old',
      permitted,
      now: new Date(Date.now() - 6 * 365 * days),
    })
    await expect(start()).rejects.toThrow(
      /intermediate\.crt holds .* to [\s\S]*clock[\s\S]*\.\/sotto cert renew/,
    )
    expect(await diagnosed(state, 'certificates')).toMatchObject({
      status: 'failed',
      remedy: expect.stringContaining('./sotto cert renew'),
    })
    await run(state, 'cert', 'renew')
    const gateway = await start()
    expect(gateway.fingerprint).toBe(fingerprint)
    expect((await shown(gateway)) > new Date()).toBe(true)
  })

  it('as the root is replaced by the commands that are said', async () => {
    await makeAuthority(certs, { name: 'Old', permitted, now: new Date(Date.now() - 11 * 365 * days) })
    await expect(start()).rejects.toThrow(
      /root\.crt holds[\s\S]*\.\/sotto cert rollover && \.\/sotto cert rollover --finish/,
    )
    await run(state, 'cert', 'rollover')
    await run(state, 'cert', 'rollover', '--finish')
    expect((await shown(await start())) > new Date()).toBe(true)
  })
})

describe('the clock of the machine', () => {
  const day = 86_400
  let directory: string
  let state: string
  let gateway: RunningGateway
  beforeEach(async () => {
    const folder = await temporaryDirectory()
    closers.push(folder.remove)
    directory = folder.path
    state = join(directory, 'state')
    await set(0)
    const ollama = await startStandIn(undefined, 'ollama')
    closers.push(ollama.stop)
    const options = ['--loopback', '--port', '0', '--ollama', ollama.url, '--endpoint', '192.0.2.1']
    gateway = await startGateway(withClock(join(directory, 'clock')), state, ...options)
    closers.push(() => gateway.stop())
    await trust(state)
  })

  /** Sets the gateway's clock, so many seconds from the right one. */
  const set = (seconds: number) =>
    writeFile(join(directory, 'clock'), `${seconds < 0 ? '' : '+'}${seconds}\n`)
  const ask = async (key?: string) => {
    const answer = await fetch(`${gateway.origins[0]}/api/chat`, {
      method: 'POST',
      headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
      body: JSON.stringify({
        model: 'stand-in',
        stream: false,
        messages: [{ role: 'user', content: 'one' }],
      }),
    })
    await answer.body?.cancel()
    return {
      status: answer.status,
      id: answer.headers.get('x-request-id'),
      retryAfter: Number(answer.headers.get('retry-after')),
    }
  }

  it('that is set forward and back by a day shuts nobody out, lets nobody in for longer, and is told of', async () => {
    const { secret: brief } = await run(state, 'key', 'add', 'brief', '--expires', '12h')
    const { secret: paced } = await run(state, 'key', 'add', 'paced')
    await run(state, 'limit', 'key:paced', '--requests-per-minute', '1')
    const answered = [await ask(brief), await ask()]
    expect(answered).toMatchObject([{ status: 200 }, { status: 200 }])

    await set(day)
    await expect.poll(() => gateway.said(), soon).toContain('The clock was set forward by 1 day.')
    // What ends at a time has ended by that clock…
    await expect.poll(async () => (await ask(brief)).status, soon).toBe(401)
    expect((await ask()).status).toBe(200)
    expect((await ask(paced)).status).toBe(200)
    expect((await ask(paced)).status).toBe(429)

    await set(0)
    await expect.poll(() => gateway.said(), soon).toContain('The clock was set back by 1 day.')
    // … and goes on by the right one; nobody waits for a day that was none.
    await expect.poll(async () => (await ask(brief)).status, soon).toBe(200)
    const refused = await ask(paced)
    expect(refused.status === 200 || refused.retryAfter <= 60, JSON.stringify(refused)).toBe(true)
    await expect.poll(async () => (await ask(paced)).status, { ...soon, timeout: 90_000 }).toBe(200)

    await set(-day)
    await expect.poll(() => gateway.said(), soon).toMatch(/set back by 1 day[\s\S]*set back by 1 day/)
    const last = await ask()
    expect(last.status).toBe(200)
    await set(0)
    await expect
      .poll(async () => (await run(state, 'status')).troubles, soon)
      .toMatchObject([{ kind: 'clock', over: true, message: 'The clock was set forward by 1 day.' }])
    expect(await diagnosed(state, 'troubles')).toMatchObject({
      status: 'warning',
      remedy: expect.stringContaining('timedatectl'),
    })

    interface Row {
      readonly id: number
      readonly request_id: string
      readonly duration_ms: number
    }
    const audit = async (): Promise<Row[]> =>
      (await run(state, 'audit', '--since', '7d', '--limit', '1000')).requests
    const asked = [...answered, last].map(({ id }) => id)
    // By number in the order in which it happened, whatever the clock said; and nothing took less than no time.
    const inOrder = async () =>
      (await audit())
        .toSorted((one, other) => one.id - other.id)
        .map((row) => row.request_id)
        .filter((id) => asked.includes(id))
    await expect.poll(inOrder, soon).toEqual(asked)
    for (const row of await audit()) {
      expect(row.duration_ms, JSON.stringify(row)).toBeGreaterThanOrEqual(0)
      expect(row.duration_ms, JSON.stringify(row)).toBeLessThan(day * 1_000)
    }
  })
})

/** Runs a program by a clock of its own, which the file sets: libfaketime. What lasts goes by the kernel's. */
function withClock(file: string): Pick<Host, 'start'> {
  return {
    start: (program, args, options) =>
      execa(program, [...args], {
        reject: false,
        ...options,
        env: {
          LD_PRELOAD: '/usr/$LIB/faketime/libfaketimeMT.so.1',
          FAKETIME_TIMESTAMP_FILE: file,
          FAKETIME_NO_CACHE: '1',
          FAKETIME_DONT_FAKE_MONOTONIC: '1',
        },
      }),
  }
}
