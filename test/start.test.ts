/** `sotto up` as a newcomer meets it: on loopback, twice, and with everything that can be wrong. */
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { makeAuthority } from '@sotto/certs/authority.ts'
import { execa } from 'execa'
import { WebSocket } from 'ws'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sotto, startGateway, startStandIn, temporaryDirectory } from './lab/gateway.ts'
import { createLab, type Host } from './lab/lab.ts'

let directory: string
const closers: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  const folder = await temporaryDirectory()
  directory = folder.path
  closers.push(folder.remove)
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A gateway on loopback, without engines unless told. */
async function start(...options: string[]) {
  const gateway = await startGateway(
    undefined,
    join(directory, 'state'),
    '--loopback',
    '--port',
    '0',
    '--ollama',
    'http://127.0.0.1:9',
    ...options,
  )
  closers.push(gateway.stop)
  return gateway
}

/** Programs of a folder before those of the system. */
function withPath(host: Host, folder: string): Host['start'] {
  return (file, args, options) =>
    host.start(file, args, { ...options, env: { PATH: `${folder}:${process.env.PATH}` } })
}

const failing = async (...options: string[]): Promise<string> => {
  const error = await start(...options).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(Error)
  return String(error)
}

describe('sotto up', () => {
  it('serves on loopback alone where it is told to, with a demo where there is no engine', async () => {
    const gateway = await start('--endpoint', '192.0.2.1')
    for (const origin of gateway.origins) expect(origin).toMatch(/^https:\/\/(127\.0\.0\.1|\[::1\]):/)
    expect(gateway.engines).toMatchObject({ chat: { kind: 'demo' }, transcription: { kind: 'demo' } })
    expect(gateway.overlay).toMatchObject({ problem: expect.stringContaining('--loopback') })
    const status = JSON.parse((await sotto('status', '--json', '--state', gateway.state)).stdout)
    expect(status).toMatchObject({
      running: true,
      origins: gateway.origins,
      engines: { chat: { kind: 'demo' } },
    })
  })

  it('changes nothing when it is run again', async () => {
    const first = await start('--endpoint', '192.0.2.1')
    expect((await sotto('device', 'add', 'laptop', '--state', first.state)).exitCode).toBe(0)
    const files = ['hub.key', 'sotto.json', 'certs/root.crt', 'certs/leaf.crt', 'certs/intermediate.key']
    const read = () => Promise.all(files.map((file) => readFile(join(first.state, file), 'utf8')))
    const before = await read()
    const devices = (await sotto('device', 'list', '--json', '--state', first.state)).stdout
    await first.stop()
    const second = await start()
    expect(second.fingerprint).toBe(first.fingerprint)
    expect(await read()).toEqual(before)
    expect((await sotto('device', 'list', '--json', '--state', first.state)).stdout).toBe(devices)
  })

  it('takes up an engine that comes while it runs', async () => {
    const ollama = await startStandIn(undefined, 'ollama')
    const port = Number(new URL(ollama.url).port)
    await ollama.stop()
    const gateway = await start('--ollama', ollama.url)
    expect(gateway.engines.chat.kind).toBe('demo')
    const again = await startStandIn(undefined, 'ollama', port)
    closers.push(again.stop)
    const kind = async () =>
      JSON.parse((await sotto('status', '--json', '--state', gateway.state)).stdout).engines.chat.kind
    await expect.poll(kind, { timeout: 15_000 }).toBe('ollama')
    expect(gateway.said()).toContain('Ollama ready')
  })

  it('leaves nothing behind when it is stopped', async () => {
    const gateway = await start()
    await gateway.stop()
    expect((await gateway.process).exitCode).toBe(0)
    expect(await readdir(gateway.state)).not.toContain('running.json')
    expect(JSON.parse((await sotto('status', '--json', '--state', gateway.state)).stdout).running).toBe(false)
  })
})

describe('sotto cert', () => {
  it('shows the CA that the gateway has, and issues for the overlay alone', async () => {
    const gateway = await start()
    const at = ['--state', gateway.state]
    expect(JSON.parse((await sotto('cert', 'show', '--json', ...at)).stdout).fingerprint).toBe(
      gateway.fingerprint,
    )
    expect((await sotto('cert', 'issue', 'nas.sotto.internal', '--out', directory, ...at)).exitCode).toBe(0)
    const root = join(gateway.state, 'certs', 'root.crt')
    const issued = join(directory, 'nas.sotto.internal.crt')
    expect(
      (await execa`openssl verify -x509_strict -CAfile ${root} -untrusted ${issued} ${issued}`).stdout,
    ).toContain('OK')
    const refused = await sotto('cert', 'issue', 'bank.example', '--out', directory, ...at)
    expect([refused.exitCode, refused.stdout]).toEqual([1, ''])
    expect(refused.stderr).toMatch(/may not sign for bank\.example[\s\S]*→/)
  })
})

describe('what is wrong is said, with what helps', () => {
  it('a taken port', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise((settle) => other.once('listening', settle))
    const { port } = other.address() as { port: number }
    expect(await failing('--port', String(port))).toMatch(
      new RegExp(`Port ${port} on 127.0.0.1 is taken[\\s\\S]*--port`),
    )
    other.close()
  })

  it('a state directory that is in use', async () => {
    await start()
    expect(await failing()).toMatch(/Another gateway already serves[\s\S]*--state/)
  })

  it('a directory that is not ours, and it stays as it was', async () => {
    await mkdir(join(directory, 'state'))
    await writeFile(join(directory, 'state', 'thesis.tex'), '')
    expect(await failing()).toMatch(/is not a Sotto state directory[\s\S]*--state/)
    expect(await readdir(join(directory, 'state'))).toEqual(['thesis.tex'])
  })

  it('a state that is half there', async () => {
    const gateway = await start()
    await gateway.stop()
    await rm(join(gateway.state, 'certs', 'intermediate.key'))
    expect(await failing()).toMatch(/is not whole: intermediate\.key missing[\s\S]*backup/)
    await rm(join(gateway.state, 'certs'), { recursive: true })
    await rm(join(gateway.state, 'hub.key'))
    expect(await failing()).toMatch(/hub's private key[\s\S]*is missing[\s\S]*backup/)
  })

  it('a CA that has expired, and one that is not ours', async () => {
    const gateway = await start()
    await gateway.stop()
    const certs = join(gateway.state, 'certs')
    const years = 365 * 86_400_000
    await rm(certs, { recursive: true })
    const permitted = { dns: ['sotto.internal'], ip: ['10.77.0.0/24'] }
    await makeAuthority(certs, { name: 'Old', permitted, now: new Date(Date.now() - 6 * years) })
    expect(await failing()).toMatch(/intermediate[\s\S]*clock/)
    const foreign =
      await execa`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout - -days 2 -subj /CN=Any`
    for (const file of ['root.crt', 'intermediate.crt', 'intermediate.key'])
      await writeFile(join(certs, file), foreign.stdout)
    expect(await failing()).toMatch(/CA in .*certs[\s\S]*backup/)
  })

  it('a database that is no database', async () => {
    const gateway = await start()
    await gateway.stop()
    for (const file of await readdir(gateway.state))
      if (file.startsWith('sotto.db')) await rm(join(gateway.state, file))
    await writeFile(join(gateway.state, 'sotto.db'), 'this is a text, and a long one at that. '.repeat(200))
    expect(await failing()).toMatch(/database[\s\S]*can't be opened[\s\S]*backup/)
  })

  it('an option that is wrong, or does not exist', async () => {
    expect(await failing('--whisper', 'nonsense')).toContain('--whisper: “nonsense”')
    expect(await failing('--prot', '1')).toMatch(/unknown option '--prot'[\s\S]*--port/)
  })

  it('an address that can’t be dialled as an engine is no reason to stop', async () => {
    const gateway = await start('--whisper', 'http://127.0.0.1:9')
    expect(gateway.engines.transcription).toMatchObject({ kind: 'demo', problem: 'No Whisper answers.' })
  })

  it('WireGuard that can’t be had: it says why, and serves on loopback alone', async () => {
    const lab = await createLab()
    closers.push(lab.close)
    const started = await startGateway(lab.hub, join(directory, 'state'), '--endpoint', '192.0.2.1')
    await started.stop()
    // Its interface's name is taken by something else meanwhile.
    const { name } = JSON.parse((await sotto('status', '--json', '--state', started.state)).stdout).interface
    await lab.hub.run('ip', 'link', 'add', name, 'type', 'bridge')
    const gateway = await startGateway(lab.hub, join(directory, 'state'))
    closers.push(gateway.stop)
    expect(gateway.overlay).toMatchObject({
      problem: expect.stringContaining(`${name} exists`),
      remedy: expect.stringContaining(`ip link delete ${name}`),
    })
    expect(gateway.origins[0]).toMatch(/^https:\/\/127\.0\.0\.1:/)
  })

  it('a range that is none, is the host’s already, or becomes so', async () => {
    const lab = await createLab()
    closers.push(lab.close)
    await lab.hub.run('ip', 'route', 'add', '172.27.0.0/16', 'via', '192.0.2.9')
    const withRange = (range: string, state = 'state') =>
      startGateway(lab.hub, join(directory, state), '--endpoint', '192.0.2.1', '--range', range).then(
        (gateway) => gateway,
        (error: unknown) => String(error),
      )
    expect(await withRange('10.77.0.0/8')).toMatch(/is no range for an overlay[\s\S]*\/16 to \/29/)
    expect(await withRange('172.27.5.0/24')).toMatch(
      /reaches 172\.27\.0\.0\/16 through eth0[\s\S]*ip route del/,
    )
    const made = await withRange('172.28.5.0/29')
    if (typeof made === 'string') throw new Error(made)
    expect(made.origins[0]).toMatch(/^https:\/\/172\.28\.5\.1:/)
    await made.stop()
    await lab.hub.run('ip', 'route', 'add', '172.28.0.0/16', 'via', '192.0.2.9')
    const gateway = await startGateway(lab.hub, made.state)
    closers.push(gateway.stop)
    expect(gateway.overlay).toMatchObject({ problem: expect.stringContaining('reaches 172.28.0.0/16') })
    expect(gateway.origins[0]).toMatch(/^https:\/\/127\.0\.0\.1:/)
    await expect(startGateway(lab.device, made.state)).rejects.toThrow('Another gateway already serves')
  })

  it('IPv6 that is switched off: it serves what there is', async () => {
    const lab = await createLab()
    closers.push(lab.close)
    await lab.hub.run(
      'sysctl',
      '-qw',
      'net.ipv6.conf.all.disable_ipv6=1',
      'net.ipv6.conf.default.disable_ipv6=1',
    )
    const loopback = await startGateway(lab.hub, join(directory, 'state'), '--loopback')
    expect(loopback.origins).toEqual(['https://127.0.0.1:8443'])
    await loopback.stop()
    const overlay = await startGateway(lab.hub, join(directory, 'state'))
    closers.push(overlay.stop)
    // The overlay's own interface has IPv6 all the same.
    expect(overlay.origins).toEqual([expect.stringContaining('10.77.'), expect.stringContaining('[fd')])
  })

  it('`wg` that fails: it says what failed, and serves on loopback alone', async () => {
    const lab = await createLab()
    closers.push(lab.close)
    const tools = join(directory, 'tools')
    await mkdir(tools)
    await writeFile(
      join(tools, 'wg'),
      '#!/bin/sh\necho "Unable to modify interface: Operation not supported" >&2\nexit 1\n',
      { mode: 0o755 },
    )
    const hub = { ...lab.hub, start: withPath(lab.hub, tools) }
    const gateway = await startGateway(hub, join(directory, 'state'), '--endpoint', '192.0.2.1')
    closers.push(gateway.stop)
    expect(gateway.overlay).toMatchObject({ problem: expect.stringContaining('Operation not supported') })
    expect(gateway.origins[0]).toMatch(/^https:\/\/127\.0\.0\.1:/)
    expect(gateway.firstDevice).toBeUndefined()
  })

  it('a page of another origin that opens the socket, and a frame that is too large: the gateway goes on', async () => {
    const gateway = await start()
    const url = `${(gateway.origins[0] ?? '').replace('https', 'wss')}/v1/realtime`
    const ca = await readFile(join(gateway.state, 'certs', 'root.crt'))
    const open = (options: { origin?: string }) => new WebSocket(url, 'realtime.sotto.v1', { ca, ...options })
    const refused = await new Promise((settle) =>
      open({ origin: 'https://evil.example' }).on('error', settle),
    )
    expect(String(refused)).toContain('403')
    const socket = open({})
    const code = await new Promise((settle) => {
      socket.on('error', () => {})
      socket.on('open', () => socket.send(Buffer.alloc(17 * 1024 * 1024)))
      socket.on('close', settle)
    })
    expect(code).toBe(1009)
    const next = open({})
    await new Promise((settle) => next.on('message', settle))
    next.close()
  })
})
