/** Devices that run `sotto join`, behind NATs: direct where it can be, by the hub where not. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  joinNetwork,
  sotto,
  startGateway,
  temporaryDirectory,
  type Joined,
  type RunningGateway,
} from './lab/gateway.ts'
import { openBrowser } from './lab/browser.ts'
import { output } from './lab/home.ts'
import { startPing } from './lab/ping.ts'
import { createLab, type Host, type HostBehindNat, type Lab } from './lab/lab.ts'

interface Entered {
  readonly host: HostBehindNat
  readonly state: string
  joined: Joined
}

describe('devices behind NATs', () => {
  let lab: Lab
  let gateway: RunningGateway
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  let ada: Entered
  let bob: Entered
  const closers: (() => Promise<unknown>)[] = []

  const run = (...args: string[]) => sotto(...args, '--state', gateway.state, '--json')
  const enter = async (name: string, nat: { symmetric?: boolean; shut?: boolean } = {}): Promise<Entered> => {
    const host = await lab.addBehindNat(name, nat)
    if (nat.shut) await shut(host.router)
    const { link } = JSON.parse((await run('device', 'add', name, '--link')).stdout)
    const entered = {
      host,
      state: `${folder.path}/${name}`,
      joined: await joinNetwork(host, `${folder.path}/${name}`, link),
    }
    closers.push(() => entered.joined.stop())
    return entered
  }
  /** A firewall between the two: UDP passes to the hub alone. */
  const shut = async (router: Host) => {
    const rule = `ip saddr != ${lab.hub.address4} ip daddr != ${lab.hub.address4} meta l4proto udp drop`
    await router.run('nft', 'add', 'table', 'ip', 'shut')
    await router.run('nft', 'add', 'chain', 'ip', 'shut', 'c', '{ type filter hook forward priority -10; }')
    await router.run('nft', 'add', 'rule', 'ip', 'shut', 'c', ...rule.split(' '))
  }
  const open = (router: Host) => router.run('nft', 'delete', 'table', 'ip', 'shut')
  const paths = async (): Promise<Record<string, { state: string; reason: string | null }>> => {
    const { paths: all } = JSON.parse((await run('status')).stdout)
    return Object.fromEntries(
      all.map((path: { device: string; peer: string }) => [`${path.device} ${path.peer}`, path]),
    )
  }
  const become = (state: string, ...pairs: string[]) =>
    expect
      .poll(
        async () => {
          const all = await paths()
          return pairs.map((pair) => all[pair]?.state)
        },
        { timeout: 90_000, interval: 300 },
      )
      .toEqual(pairs.map(() => state))
  /** Bytes that the hub sent into its overlay interface so far. */
  const throughHub = async (): Promise<number> =>
    Number((await lab.hub.run('sh', '-c', 'cat /sys/class/net/sotto*/statistics/tx_bytes')).stdout)

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    gateway = await startGateway(lab.hub, `${folder.path}/state`, '--endpoint', lab.hub.address4)
    closers.push(() => gateway.stop())
    ada = await enter('ada')
    bob = await enter('bob', { shut: true })
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  it('reach each other by the hub where a firewall is between them, and say why', async () => {
    for (const address of [bob.joined.address4, bob.joined.address6])
      expect((await ada.host.run('ping', '-c', '3', '-i', '0.2', '-W', '2', address)).exitCode).toBe(0)
    await become('relayed', 'ada bob', 'bob ada')
    expect((await paths())['ada bob']?.reason).toMatch(
      /^No answer from bob at 192\.0\.2\.\d+:\d+: a firewall/,
    )
    const shown = JSON.parse((await run('device', 'show', 'ada')).stdout)
    expect(shown.device.paths).toMatchObject([{ peer: 'bob', state: 'relayed' }])
  })

  it('come to a direct path without the loss of a packet, and the hub carries no more of it', async () => {
    const pings = [bob.joined.address4, bob.joined.address6].map((address) => startPing(ada.host, address))
    const back = startPing(bob.host, ada.joined.address4)
    await pause(1_000)
    await open(bob.host.router)
    await become('direct', 'ada bob', 'bob ada')
    await pause(500)
    const before = await throughHub()
    await pause(3_000)
    const carried = (await throughHub()) - before
    for (const ping of [...pings, back]) {
      const { sent, lost } = await ping.stop()
      expect(lost).toEqual([])
      expect(sent).toBeGreaterThan(60)
    }
    // Three pings of 20 packets a second and 84 bytes would be some 15,000 bytes in three seconds.
    expect(carried).toBeLessThan(3_000)
  })

  it('lose nothing while one end has changed over and the other has not', async () => {
    for (const [family, from, to] of [
      ['-4', bob.joined.address4, ada.joined.address4],
      ['-6', bob.joined.address6, ada.joined.address6],
    ] as const) {
      const route = (how: string, ...more: string[]) =>
        bob.host.run('ip', family, 'route', how, to, 'dev', `${bob.joined.interface}d`, ...more)
      expect((await route('delete')).exitCode).toBe(0)
      for (const ping of [startPing(ada.host, from), startPing(bob.host, to)]) {
        await pause(500)
        const { sent, lost } = await ping.stop()
        expect(lost).toEqual([])
        expect(sent).toBeGreaterThan(5)
      }
      await route('replace', 'src', from)
    }
  })

  it('go on when the hub is stopped, and when it comes back', async () => {
    const ping = startPing(ada.host, bob.joined.address4)
    await gateway.stop()
    await expect.poll(() => ada.joined.said(), { timeout: 60_000 }).toContain('The hub does not answer')
    gateway = await startGateway(lab.hub, gateway.state)
    await expect.poll(() => ada.joined.said(), { timeout: 60_000 }).toContain('The hub answers again')
    expect((await ping.stop()).lost).toEqual([])
    await become('direct', 'ada bob', 'bob ada')
  })

  it('go back to the hub when the path is cut, with a download that is not', async () => {
    const size = 30_000_000
    const serve = `require('http').createServer((_, answer) => answer.end(Buffer.alloc(${size}))).listen(9000, '${bob.joined.address4}')`
    const server = bob.host.start(process.execPath, ['-e', serve])
    await pause(500)
    const url = `http://${bob.joined.address4}:9000/`
    const download = ada.host.run(
      'curl',
      '-sS',
      '--limit-rate',
      '4M',
      '-o',
      '/dev/null',
      '-w',
      '%{size_download}',
      url,
    )
    await pause(1_500)
    await shut(bob.host.router)
    expect(await download).toMatchObject({ stdout: String(size), stderr: '' })
    // Only now: a download that makes up for lost time fills every queue on its way, and drops of it what it must.
    const ping = startPing(ada.host, bob.joined.address4)
    await pause(1_500)
    const { sent, lost } = await ping.stop()
    server.kill('SIGKILL')
    await open(bob.host.router)
    expect(lost).toEqual([])
    expect(sent).toBeGreaterThan(20)
  })

  it('take each other up again when one has been away, without a new link', async () => {
    await bob.joined.stop()
    bob.joined = await joinNetwork(bob.host, bob.state)
    await become('direct', 'ada bob', 'bob ada')
  })

  it('stay with the hub where a NAT gives each destination another port, and say so', async () => {
    const carol = await enter('carol', { symmetric: true })
    await become('relayed', 'ada carol', 'carol ada')
    const all = await paths()
    expect(all['ada carol']?.reason).toMatch(/the NAT of carol \(UDP \d+ became \d+\) picks ports of its own/)
    expect(all['carol ada']?.reason).toMatch(/this device's NAT \(UDP \d+ became \d+\)/)
    expect(
      (await carol.host.run('ping', '-c', '3', '-i', '0.2', '-W', '2', ada.joined.address4)).exitCode,
    ).toBe(0)
    expect((await paths())['ada bob']?.state).toBe('direct')
    const browser = await openBrowser(ada.host, {
      ca: `${gateway.state}/certs/root.crt`,
      microphone: '/dev/null',
      directory: `${folder.path}/browser`,
    })
    const page = await browser.newPage()
    await page.goto(`${ada.joined.origin}/devices`)
    const path = (to: string) =>
      page
        .getByTestId('device-row')
        .filter({ has: page.getByRole('heading', { name: 'ada' }) })
        .getByTestId('path-row')
        .filter({ hasText: `To ${to}` })
    await path('carol').waitFor()
    expect(await path('bob').getAttribute('data-state')).toBe('direct')
    expect(await path('carol').textContent()).toMatch(
      /by the hub.*the NAT of carol .* picks ports of its own/,
    )
    await page.screenshot({ path: join(output, 'paths.png') })
    await browser.close()
  })

  it('forget one that is removed, within a second', async () => {
    await run('device', 'remove', 'bob')
    await pause(1_000)
    expect(
      (await ada.host.run('ping', '-c', '2', '-i', '0.2', '-W', '1', bob.joined.address4)).exitCode,
    ).not.toBe(0)
    const { stdout } = await ada.host.run('ip', '-json', 'route')
    expect(stdout).not.toContain(`"dst":"${bob.joined.address4}"`)
  })
})
