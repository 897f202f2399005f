/** A backup on another machine is the same network: its devices come back by themselves. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  joinOverlay,
  sotto,
  startGateway,
  startStandIn,
  temporaryDirectory,
  type RunningGateway,
} from './lab/gateway.ts'
import { createLab, type Host, type Lab } from './lab/lab.ts'

const root = join(import.meta.dirname, '..')

describe('a network that moves to another machine', () => {
  let lab: Lab
  let gateway: RunningGateway
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  const closers: (() => Promise<unknown>)[] = []
  const at = (name: string) => join(folder.path, name)
  const curl = async () =>
    (
      await lab.device.run(
        'curl',
        '-sS',
        '--max-time',
        '5',
        '--cacert',
        at('trusted.crt'),
        `${gateway.origins[0]}/healthz`,
      )
    ).stdout
  const doctor = async (host: Host, state: string, ...options: string[]) => {
    const { stdout } = await host.start(process.execPath, [
      join(root, 'sotto.ts'),
      'doctor',
      '--json',
      '--state',
      state,
      ...options,
    ])
    const { findings } = JSON.parse(String(stdout))
    return Object.fromEntries(findings.map(({ code, status }: Record<string, string>) => [code, status]))
  }

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    gateway = await startGateway(lab.hub, at('state'), '--endpoint', lab.hub.address4)
    closers.push(() => gateway.stop())
    await joinOverlay(lab.device, folder.path, gateway.firstDevice?.config ?? '', 'phone')
    // The device keeps what it trusted then.
    await lab.device.run('cp', `${gateway.state}/certs/root.crt`, at('trusted.crt'))
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  it('is found sound by the doctor', async () => {
    expect(await curl()).toBe('ok')
    const ollama = await startStandIn(lab.hub, 'ollama')
    const found = await doctor(lab.hub, gateway.state, '--ollama', ollama.url)
    await ollama.stop()
    for (const code of [
      'state_private',
      'wireguard',
      'interface',
      'range',
      'firewall',
      'forwarding',
      'certificates',
      'gateway',
      'microphone',
      'ollama',
    ])
      expect(found[code], code).toBe('ok')
  })

  it('has its devices back without a new config', async () => {
    await writeFile(at('passphrase'), 'four or five words\n')
    const passphrase = ['--passphrase-file', at('passphrase')]
    expect(
      (await sotto('backup', at('home.age'), '--state', gateway.state, ...passphrase)).stderr,
    ).not.toContain('✘')
    const { fingerprint } = gateway
    await gateway.stop()
    const other = await lab.addHost('other')
    // It takes the place of the old machine on the network.
    await lab.hub.run('ip', 'address', 'flush', 'dev', 'eth0')
    await other.run('ip', 'address', 'add', `${lab.hub.address4}/24`, 'dev', 'eth0')
    await lab.device.run('ip', 'neighbour', 'flush', 'all')
    expect((await sotto('restore', at('home.age'), '--state', at('restored'), ...passphrase)).exitCode).toBe(
      0,
    )
    gateway = await startGateway(other, at('restored'))
    expect(gateway.fingerprint).toBe(fingerprint)
    expect(gateway.firstDevice).toBeUndefined()
    await expect.poll(curl, { timeout: 40_000, interval: 300 }).toBe('ok')
    const list = await sotto('device', 'list', '--json', '--state', at('restored'))
    expect(JSON.parse(list.stdout).devices).toMatchObject([{ name: 'phone', state: 'online' }])
  })
})
