import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase } from './database.ts'
import { enrol } from './enrolment/enrol.ts'
import { ensureNetwork } from './network.ts'
import { addDevice, listDevices, removeDevice } from './registry/device.ts'
import { readRevision } from './registry/network.ts'
import { ensurePerson } from './registry/person.ts'
import { gatewayId, lockState, makeState, openState, sweepState } from './state.ts'
import { makeKeyPair } from './overlay/keys.ts'

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-state-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const at = (name: string): string => join(directory, name)

/** A network with a database, as a first start leaves it. */
async function makeNetwork() {
  const state = await makeState(at('state'))
  const database = await openDatabase(state.database)
  const { network } = await ensureNetwork(state, database, { endpoint: '192.0.2.1' })
  return { state, database, network, ada: await ensurePerson(database, 'ada') }
}

describe('the state directory', () => {
  it('has an id of its own, which a copy of it has not', async () => {
    const state = await makeState(at('state'))
    const id = gatewayId(state)
    expect(id).toMatch(/^[0-9a-f]{32}$/)
    expect(gatewayId(await makeState(at('state')))).toBe(id)
    await cp(at('state'), at('copy'), { recursive: true })
    expect(gatewayId(await makeState(at('copy')))).not.toBe(id)
    // As a version that knew of no ids left it.
    await writeFile(join(at('copy'), 'sotto.json'), '{"sotto":1,"createdAt":"2026-11-21T00:00:00.000Z"}')
    expect(() => gatewayId(openState(at('copy')))).toThrow('is not what Sotto writes')
    expect(gatewayId(await makeState(at('copy')))).toMatch(/^[0-9a-f]{32}$/)
  })

  it('is made for its owner alone, and found again', async () => {
    const state = await makeState(at('state'))
    await makeState(at('state'))
    expect(openState(at('state'))).toEqual(state)
    expect((await stat(state.directory)).mode & 0o777).toBe(0o700)
    await (await openDatabase(state.database)).destroy()
    expect((await stat(state.database)).mode & 0o777).toBe(0o600)
  })

  it('is not made in a directory that holds something else, which stays as it is', async () => {
    await writeFile(at('letter.txt'), 'dear')
    await expect(makeState(directory)).rejects.toMatchObject({
      code: 'state_foreign',
      remedy: expect.stringContaining('--state'),
    })
    expect((await stat(at('letter.txt'))).size).toBe(4)
  })

  it('may have its settings before it is made', async () => {
    await writeFile(at('config.yaml'), 'auditDays: 7\n')
    expect((await makeState(directory)).directory).toBe(directory)
  })

  it('is refused when its marker is damaged, and where there is none', async () => {
    await makeState(at('state'))
    await writeFile(at('state/sotto.json'), '{"sotto":')
    await expect(makeState(at('state'))).rejects.toMatchObject({ code: 'state_damaged' })
    expect(() => openState(at('nowhere'))).toThrow('There is no Sotto state')
  })

  it('loses what killed processes had begun in it, and nothing that is being worked at', async () => {
    const state = await makeState(at('state'))
    await openDatabase(state.database).then((database) => database.destroy())
    const { pid: gone } = spawnSync('true')
    const kept = [`backup-${process.pid}-ab12CD`, `sotto-wg-${process.pid}-ab12CD`, 'backup-of-mine']
    const left = [`backup-${gone}-ab12CD`, `sotto-wg-${gone}-ab12CD`]
    const inMemory = join('/dev/shm', `sotto-wg-${gone}-${randomUUID()}`)
    for (const folder of [...[...kept, ...left].map((name) => at(`state/${name}`)), inMemory]) {
      await mkdir(folder)
      await writeFile(join(folder, 'settings'), 'a key')
    }
    for (const name of ['', '-journal']) await writeFile(at(`state/sotto.db.copy-${gone}${name}`), '')
    await sweepState(state)
    expect(existsSync(inMemory)).toBe(false)
    expect((await readdir(state.directory)).toSorted()).toEqual(
      [...kept, 'sotto.db', 'sotto.json'].toSorted(),
    )
  })

  it('serves one process at a time', async () => {
    const state = await makeState(at('state'))
    const unlock = lockState(state)
    expect(() => lockState(state)).toThrow('Another gateway')
    unlock()
    lockState(state)()
  })
})

describe('the network', () => {
  it('is made once, and opened the same again', async () => {
    const { state, database, network } = await makeNetwork()
    const again = await ensureNetwork(state, database)
    expect(again).toMatchObject({ network, made: false })
    expect(network.endpoint).toBe(`192.0.2.1:${network.listenPort}`)
    expect((await stat(state.hubKey)).mode & 0o777).toBe(0o600)
    await database.destroy()
  })

  it('is finished where a crash came between its key and its row', async () => {
    const state = await makeState(at('state'))
    await writeFile(state.hubKey, 'left over\n')
    const database = await openDatabase(state.database)
    const { made, network } = await ensureNetwork(state, database, { endpoint: 'hub.example:4000' })
    expect([made, network.endpoint]).toEqual([true, 'hub.example:4000'])
    expect((await ensureNetwork(state, database)).made).toBe(false)
    await database.destroy()
  })

  it('is not opened without its key, or with another’s', async () => {
    const { state, database } = await makeNetwork()
    await writeFile(state.hubKey, makeKeyPair().privateKey)
    await expect(ensureNetwork(state, database)).rejects.toMatchObject({ code: 'hub_key_wrong' })
    await rm(state.hubKey)
    await expect(ensureNetwork(state, database)).rejects.toMatchObject({
      code: 'hub_key_missing',
      remedy: expect.stringContaining('backup'),
    })
    await database.destroy()
  })

  it('takes a new endpoint, in every form that people write', async () => {
    const { state, database, network } = await makeNetwork()
    for (const [given, endpoint] of [
      ['2001:db8::1', `[2001:db8::1]:${network.listenPort}`],
      ['[2001:db8::1]:99', '[2001:db8::1]:99'],
      ['home.example', `home.example:${network.listenPort}`],
    ] as const)
      expect((await ensureNetwork(state, database, { endpoint: given })).network.endpoint).toBe(endpoint)
    await expect(ensureNetwork(state, database, { endpoint: 'http://home.example' })).rejects.toMatchObject({
      code: 'endpoint',
    })
    await database.destroy()
  })
})

describe('devices', () => {
  it('have their own key in their config, and it is nowhere in the state', async () => {
    const { state, database, network, ada } = await makeNetwork()
    const { device, config } = await enrol(database, network, { name: 'phone', person: ada })
    const [, privateKey = ''] = /PrivateKey = (\S+)/.exec(config) ?? []
    expect(await listDevices(database)).toEqual([device])
    await database.destroy()
    const { readFile } = await import('node:fs/promises')
    expect((await readFile(state.database)).includes(privateKey)).toBe(false)
    expect(privateKey).toHaveLength(44)
  })

  it('never get the address of one that was removed', async () => {
    const { database, network, ada } = await makeNetwork()
    const first = await enrol(database, network, { name: 'phone', person: ada })
    await removeDevice(database, 'phone')
    const second = await enrol(database, network, { name: 'phone', person: ada })
    expect([first.device.address4, second.device.address4]).toEqual(
      ['10.77.0.2', '10.77.0.3'].map((address) =>
        address.replace('10.77.0', network.range4.split('.').slice(0, 3).join('.')),
      ),
    )
    await database.destroy()
  })

  it('change the revision each time, so that a gateway looks', async () => {
    const { database, network, ada } = await makeNetwork()
    const before = await readRevision(database)
    await enrol(database, network, { name: 'phone', person: ada })
    await removeDevice(database, 'phone')
    expect(await readRevision(database)).toBe(before + 2)
    await database.destroy()
  })

  it('are refused with a reason, and nothing changes', async () => {
    const { database, network, ada } = await makeNetwork()
    await enrol(database, network, { name: 'phone', person: ada })
    const key = makeKeyPair().publicKey
    for (const [name, publicKey, code] of [
      ['phone', key, 'device_exists'],
      ['', key, 'device_name'],
      ['../etc/passwd', key, 'device_name'],
      ['line\nbreak', key, 'device_name'],
      ['tablet', 'no key', 'device_key'],
    ] as const)
      await expect(
        addDevice(database, network, { name, person: ada, publicKey }),
        name,
      ).rejects.toMatchObject({ code })
    await expect(removeDevice(database, 'tablet')).rejects.toMatchObject({ code: 'device_missing' })
    expect(await listDevices(database)).toHaveLength(1)
    await database.destroy()
  })

  it('added at the same time get addresses of their own', async () => {
    const { database, network, ada } = await makeNetwork()
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        enrol(database, network, { name: `device ${index}`, person: ada }),
      ),
    )
    expect(new Set(all.map(({ device }) => device.address4)).size).toBe(20)
    await database.destroy()
  })
})
