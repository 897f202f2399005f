/** What an admin does to devices, and how soon it acts on real tunnels. */
import { readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { openDatabase } from '@sotto/provisioning/database.ts'
import { enrol, rotate } from '@sotto/provisioning/enrolment/enrol.ts'
import { requireNetwork } from '@sotto/provisioning/registry/network.ts'
import { disableDevice, enableDevice, removeDevice } from '@sotto/provisioning/registry/device.ts'
import { firstPerson } from '@sotto/provisioning/registry/person.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { joinOverlay, sotto, startGateway, temporaryDirectory, type RunningGateway } from './lab/gateway.ts'
import { createLab, type Host, type Lab } from './lab/lab.ts'
import { startPing } from './lab/ping.ts'

const hub = '10.77.0.1'

describe('the devices of a network', () => {
  let lab: Lab
  let gateway: RunningGateway
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  /** Ada's phone, and the interface it has there. */
  let phone: { host: Host; name: string }
  const closers: (() => Promise<unknown>)[] = []

  const run = async (...args: string[]) => {
    const { stdout, stderr, exitCode } = await sotto(...args, '--state', gateway.state, '--json')
    if (exitCode !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }
  const view = async (name: string) => (await run('device', 'show', name)).device
  const pings = async (host: Host, to: string, wait = 1): Promise<boolean> =>
    (await host.run('ping', '-c', '1', '-W', String(wait), to)).exitCode === 0
  const reaches = (host: Host, to: string, expected: boolean) =>
    expect.poll(() => pings(host, to), { timeout: 20_000, interval: 100 }).toBe(expected)
  /** Adds a device on a host of its own. */
  const enter = async (role: string, ...options: string[]) => {
    const host = await lab.addHost(role)
    const { config, device } = await run('device', 'add', role, ...options)
    const name = await joinOverlay(host, folder.path, config, role)
    return { host, name, device, config }
  }

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    gateway = await startGateway(lab.hub, `${folder.path}/state`, '--endpoint', lab.hub.address4)
    closers.push(() => gateway.stop())
    const name = await joinOverlay(lab.device, folder.path, gateway.firstDevice?.config ?? '', 'phone')
    phone = { host: lab.device, name }
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  it('reach the gateway on each address family', async () => {
    await reaches(phone.host, hub, true)
    for (const origin of gateway.origins)
      expect(
        await phone.host.run(
          'curl',
          '-sS',
          '--max-time',
          '5',
          '--cacert',
          `${gateway.state}/certs/root.crt`,
          `${origin}/healthz`,
        ),
        origin,
      ).toMatchObject({ stdout: 'ok' })
    expect(gateway.origins).toHaveLength(2)
  })

  it('do not feel it when fifty others come, are changed and go', async () => {
    const database = await openDatabase(`${gateway.state}/sotto.db`)
    const network = await requireNetwork(database)
    const person = await firstPerson(database)
    const size = 4_000_000
    // At a steady pace: a burst, or more than a socket of wireguard-go holds while a full machine lets it wait, is
    // dropped on its way, and that is no session's end.
    const serve = `require('http').createServer((_, answer) => {
      let left = ${size}
      const timer = setInterval(() => {
        answer.write(Buffer.alloc(4_000))
        left -= 4_000
        if (left <= 0) answer.end(), clearInterval(timer)
      }, 10)
    }).listen(8443, '10.77.0.2')`
    const server = phone.host.start(process.execPath, ['-e', serve])
    const ping = startPing(phone.host, hub)
    await pause(500)
    const curl = ['-sS', '-o', '/dev/null', '-w', '%{size_download}']
    const download = lab.hub.run('curl', ...curl, 'http://10.77.0.2:8443/')
    const names = Array.from({ length: 50 }, (_, index) => `other ${index}`)
    const peers = async () => (await lab.hub.run('wg', 'show', network.interface, 'peers')).stdout.split('\n')
    const forAll = async (change: (name: string) => Promise<unknown>, live: number) => {
      for (const name of names) {
        await change(name)
        await pause(20)
      }
      await expect.poll(async () => (await peers()).length, { timeout: 5_000 }).toBe(live)
    }
    await forAll((name) => enrol(database, network, { name, person }), 51)
    await forAll((name) => disableDevice(database, name), 1)
    await forAll((name) => enableDevice(database, name), 51)
    const old = await peers()
    await forAll((name) => rotate(database, network, name), 51)
    const kept = async () => (await peers()).filter((key) => old.includes(key)).length
    await expect.poll(kept, { timeout: 5_000 }).toBe(1)
    await forAll((name) => removeDevice(database, name), 1)
    expect(await download).toMatchObject({ stdout: String(size), stderr: '' })
    const { sent, lost } = await ping.stop()
    expect(lost).toEqual([])
    expect(sent).toBeGreaterThan(100)
    server.kill('SIGKILL')
    await database.destroy()
  })

  it('are shut out within a second when they are disabled, and let in again', async () => {
    await run('device', 'disable', 'phone')
    await pause(1_000)
    expect(await pings(phone.host, hub)).toBe(false)
    expect(await view('phone')).toMatchObject({ state: 'disabled' })
    await run('device', 'enable', 'phone')
  })

  it('are shut out within a second of their time', async () => {
    const at = new Date(Date.now() + 2_500)
    await run('device', 'expire', 'phone', at.toISOString())
    expect(await pings(phone.host, hub)).toBe(true)
    await pause(at.getTime() + 1_000 - Date.now())
    expect(await pings(phone.host, hub)).toBe(false)
    expect(await view('phone')).toMatchObject({ state: 'expired' })
    await run('device', 'expire', 'phone', 'never')
  })

  it('get new keys, and the old ones open nothing', async () => {
    const laptop = await enter('laptop')
    await reaches(laptop.host, hub, true)
    const { config, device } = await run('device', 'rotate', 'laptop')
    expect(device.address4).toBe(laptop.device.address4)
    expect(device.publicKey).not.toBe(laptop.device.publicKey)
    await pause(1_000)
    expect(await pings(laptop.host, hub)).toBe(false)
    await laptop.host.run('ip', 'link', 'delete', laptop.name)
    await joinOverlay(laptop.host, folder.path, config, 'laptop')
    await reaches(laptop.host, hub, true)
    await run('device', 'rename', 'laptop', 'notebook')
    expect(await view('notebook')).toMatchObject({ id: device.id, state: 'online' })
    expect(await pings(laptop.host, hub)).toBe(true)
  })

  it('keep a private key that they made themselves', async () => {
    const { stdout: key } = await lab.neighbour.run('wg', 'genkey')
    const { stdout: publicKey } = await lab.neighbour.run('sh', '-c', `echo ${key} | wg pubkey`)
    const { config, device } = await run('device', 'add', 'own key', '--public-key', publicKey)
    expect(device.publicKey).toBe(publicKey)
    expect(config).toContain('PrivateKey = PRIVATE_KEY')
    await joinOverlay(lab.neighbour, folder.path, config.replace('PRIVATE_KEY', key), 'own')
    await reaches(lab.neighbour, hub, true)
  })

  it('reach those of their person and the gateway, and nothing else, until a rule says so', async () => {
    const [mine, theirs] = [await enter('mine'), await enter('theirs', '--person', 'bob')]
    const opens = (from: Host, to: string, port = 9_100) =>
      from
        .run(
          'curl',
          '-s',
          '-o',
          '/dev/null',
          '--max-time',
          '3',
          `http://${to.includes(':') ? `[${to}]` : to}:${port}/`,
        )
        .then(({ exitCode }) => exitCode === 0)
    const serve = (host: Host, ...addresses: string[]) => {
      const script = addresses.map(
        (address) => `require('http').createServer((_, a) => a.end('hello')).listen(9100, '${address}')`,
      )
      const server = host.start(process.execPath, ['-e', script.join(';')])
      closers.push(async () => server.kill('SIGKILL'))
    }
    for (const { host, device } of [mine, theirs]) serve(host, device.address4, device.address6)
    serve(lab.hub, hub)
    await reaches(mine.host, hub, true)
    await reaches(theirs.host, hub, true)
    const phoneTo = async (device: { address4: string; address6: string }) => [
      await opens(phone.host, device.address4),
      await opens(phone.host, device.address6),
    ]

    await expect.poll(() => phoneTo(mine.device), { timeout: 10_000 }).toEqual([true, true])
    expect(await phoneTo(theirs.device)).toEqual([false, false])
    expect(await opens(theirs.host, mine.device.address4)).toBe(false)
    // The hub's other ports are not the gateway's.
    expect(await opens(phone.host, hub)).toBe(false)

    const { rule } = await run('network', 'allow', 'device:phone', 'person:bob')
    await expect.poll(() => phoneTo(theirs.device), { timeout: 5_000 }).toEqual([true, true])
    expect(await opens(theirs.host, mine.device.address4)).toBe(false)
    await run('network', 'forget', String(rule.id))
    await expect.poll(() => phoneTo(theirs.device), { timeout: 5_000 }).toEqual([false, false])

    const denied = await run('network', 'deny', 'device:phone', 'device:mine')
    await expect.poll(() => phoneTo(mine.device), { timeout: 5_000 }).toEqual([false, false])
    const host = await run('network', 'allow', 'device:phone', 'host')
    await expect.poll(() => opens(phone.host, hub), { timeout: 5_000 }).toBe(true)
    const gate = await run('network', 'deny', 'person:bob', 'gateway')
    await expect.poll(() => pings(theirs.host, hub), { timeout: 5_000 }).toBe(false)
    expect(await pings(phone.host, hub)).toBe(true)
    expect((await run('network', 'rules')).rules).toMatchObject([
      { action: 'deny', from: 'device:phone', to: 'device:mine' },
      { action: 'allow', from: 'device:phone', to: 'host' },
      { action: 'deny', from: 'person:bob', to: 'gateway' },
    ])
    for (const { rule: one } of [denied, host, gate]) await run('network', 'forget', String(one.id))
    await reaches(theirs.host, hub, true)
    await expect.poll(() => phoneTo(mine.device), { timeout: 5_000 }).toEqual([true, true])
  })

  it('end an open connection when its rule goes', async () => {
    const { rule } = await run('network', 'allow', 'device:phone', 'person:bob')
    const { address4 } = await view('theirs')
    const { host } = { host: phone.host }
    await expect.poll(() => pings(host, address4), { timeout: 10_000 }).toBe(true)
    const ping = startPing(host, address4)
    await pause(500)
    await run('network', 'forget', String(rule.id))
    await pause(1_000)
    expect(await pings(host, address4)).toBe(false)
    await ping.stop()
  })

  it('have their traffic counted through restarts of the interface and of the gateway', async () => {
    const before = (await view('phone')).receivedBytes
    // 50 packets of 1,000 bytes and their headers.
    const send = () => phone.host.run('ping', '-c', '50', '-i', '0.01', '-s', '1000', hub)
    const counted = (atLeast: number) =>
      expect
        .poll(async () => (await view('phone')).receivedBytes, { timeout: 10_000 })
        .toBeGreaterThanOrEqual(atLeast)
    await send()
    await counted(before + 50_000)
    const first = (await view('phone')).receivedBytes
    const hubInterface = (await run('network')).network.interface
    await lab.hub.run('ip', 'link', 'delete', hubInterface)
    await expect.poll(() => pings(phone.host, hub), { timeout: 40_000 }).toBe(true)
    await send()
    await counted(first + 50_000)
    const second = (await view('phone')).receivedBytes
    await gateway.stop()
    expect((await view('phone')).receivedBytes).toBeGreaterThanOrEqual(second)
    gateway = await startGateway(lab.hub, gateway.state)
    await expect.poll(() => pings(phone.host, hub), { timeout: 40_000 }).toBe(true)
    await send()
    await counted(second + 50_000)
    expect((await view('phone')).receivedBytes).toBeLessThan(second + 200_000)
  })

  it('are shown in the gateway’s metrics, to the admin’s devices alone', async () => {
    const get = (host: Host, path: string) =>
      host.run(
        'curl',
        '-sS',
        '--max-time',
        '5',
        '--cacert',
        `${gateway.state}/certs/root.crt`,
        `${gateway.origins[0]}${path}`,
      )
    const { stdout } = await get(phone.host, '/metrics')
    expect(stdout).toMatch(/sotto_peer_online\{device="phone",person="[^"]+"\} 1/)
    expect(stdout).toMatch(/sotto_peer_received_bytes_total\{device="phone",[^}]*\} \d{5,}/)
    const bobs = await lab.addHost('bobs')
    const { config } = await run('device', 'add', 'bobs', '--person', 'bob')
    await joinOverlay(bobs, folder.path, config, 'bobs')
    await reaches(bobs, hub, true)
    expect(JSON.parse((await get(bobs, '/metrics')).stdout).error.code).toBe('forbidden')
    const { devices } = JSON.parse((await get(bobs, '/sotto/devices')).stdout)
    expect(new Set(devices.map(({ person }: { person: string }) => person))).toEqual(new Set(['bob']))
  })

  it('can be raised from a config of the hub by wg-quick', async () => {
    const file = `${folder.path}/hubq.conf`
    await run('network', 'config', '--out', file)
    const { stdout } = await lab.neighbour.run('wg-quick', 'strip', file)
    expect(stdout).toContain('ListenPort = ')
    expect((await readFile(file, 'utf8')).match(/\[Peer\]/g)?.length).toBe(
      (await run('device', 'list')).devices.length,
    )
  })
})
