/** The registry through its public functions, on a real database. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase, type Database } from '#database.ts'
import { linkText, parseLink } from '#enrolment/link.ts'
import { makeKeyPair } from '#overlay/keys.ts'
import { makePlan } from '#overlay/plan.ts'
import type { LivePeer } from '#wireguard/peers.ts'
import {
  addDevice,
  disableDevice,
  expireDevice,
  findDevice,
  quarantineMs,
  removeDevice,
  renameDevice,
  rotateDevice,
} from './device.ts'
import { listLinks, makeLink, openLinks, redeemLink, withdrawLink } from './link.ts'
import { insertNetwork, readRevision, type Network } from './network.ts'
import { recordPaths, readPaths } from './path.ts'
import { ensurePerson, type Person } from './person.ts'
import { readRegistry } from './registry.ts'
import { addRule, listRules, nameRules, removeRule } from './rule.ts'
import { readTraffic, recordTraffic } from './traffic.ts'
import { viewDevices } from './view.ts'

let directory: string
let database: Database
let ada: Person
const hub = makeKeyPair()
let network: Network

const start = new Date('2026-11-21T12:00:00Z')
const later = (ms: number) => new Date(start.getTime() + ms)
const publicKey = () => makeKeyPair().publicKey

async function open(range4: string): Promise<void> {
  network = {
    interface: 'sotto0',
    range4,
    range6: 'fd12:3456:789a::/64',
    listenPort: 51_820,
    endpoint: '192.0.2.1:51820',
    publicKey: hub.publicKey,
    gatewayPort: 8443,
  }
  await insertNetwork(database, network)
}
/** Each a little younger than the last. */
let added = 0
const add = (name: string, now = later((added += 1))) =>
  addDevice(database, network, { name, person: ada, publicKey: publicKey() }, now)

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-registry-'))
  database = await openDatabase(join(directory, 'sotto.db'))
  ada = await ensurePerson(database, 'ada')
})
afterEach(async () => {
  await database.destroy()
  await rm(directory, { recursive: true })
})

describe('addresses', () => {
  it('run out with a message that says what helps, and come back after the quarantine, not before', async () => {
    await open('10.77.0.0/29')
    for (const name of ['a', 'b', 'c', 'd', 'e']) await add(name)
    await expect(add('f')).rejects.toMatchObject({
      code: 'addresses_exhausted',
      remedy: expect.stringContaining('--range'),
    })
    const { address4 } = await removeDevice(database, 'c')
    await expect(add('f')).rejects.toMatchObject({ code: 'addresses_exhausted' })
    const removed = new Date(Date.now() + quarantineMs + 1_000)
    expect((await add('f', removed)).address4).toBe(address4)
  })

  it('are found in the widest range, past a thousand others', async () => {
    await open('10.64.0.0/16')
    for (let number = 0; number < 1_000; number += 1) await add(`device ${number}`)
    expect((await add('last')).address4).toBe('10.64.3.234')
    expect((await add('one more')).address6).toBe('fd12:3456:789a::3eb')
  })
})

describe('devices', () => {
  beforeEach(() => open('10.77.0.0/24'))

  it('change by name, and each change is news', async () => {
    const { id, publicKey: first } = await add('phone')
    let revision = await readRevision(database)
    for (const change of [
      () => renameDevice(database, 'phone', 'mobile'),
      () => rotateDevice(database, 'mobile', publicKey()),
      () => disableDevice(database, 'mobile'),
      () => expireDevice(database, 'mobile', later(1)),
    ]) {
      expect((await change()).id).toBe(id)
      expect(await readRevision(database)).toBe((revision += 1))
    }
    const device = await findDevice(database, 'mobile')
    expect(device.publicKey).not.toBe(first)
    expect(device).toMatchObject({ disabledAt: expect.any(String), expiresAt: later(1).toISOString() })
  })

  it('never take a name or a key that another has', async () => {
    const phone = await add('phone')
    await add('laptop')
    await expect(renameDevice(database, 'laptop', 'phone')).rejects.toMatchObject({ code: 'device_exists' })
    await expect(rotateDevice(database, 'laptop', phone.publicKey)).rejects.toMatchObject({
      code: 'device_key_used',
    })
    await removeDevice(database, 'phone')
    await expect(
      addDevice(database, network, { name: 'back', person: ada, publicKey: phone.publicKey }),
    ).rejects.toMatchObject({ code: 'device_key_used' })
    expect((await renameDevice(database, 'laptop', 'phone')).name).toBe('phone')
  })

  it('are on the hub while they may speak, and the plan says until when that holds', async () => {
    await add('phone')
    await add('laptop')
    await add('guest')
    await disableDevice(database, 'laptop')
    await expireDevice(database, 'guest', later(5_000))
    const plan = (now: number) =>
      readRegistry(database).then((registry) =>
        makePlan(network, hub.privateKey, registry, later(now).getTime()),
      )
    expect((await plan(0)).devices.map(({ name }) => name)).toEqual(['phone', 'guest'])
    expect((await plan(0)).until).toBe(later(5_000).getTime())
    expect((await plan(5_000)).devices.map(({ name }) => name)).toEqual(['phone'])
    expect((await plan(5_000)).until).toBe(Infinity)
  })
})

describe('one-time links', () => {
  beforeEach(() => open('10.77.0.0/24'))
  const make = (lifeMs?: number) =>
    makeLink(
      database,
      network,
      { name: 'phone', person: ada, ...(lifeMs !== undefined && { lifeMs }) },
      start,
    )
  const redeem = (token: string, key: string, now = start) =>
    redeemLink(database, network, { token, publicKey: key }, now)

  it('let one device in, once', async () => {
    const { secrets } = await make()
    const key = publicKey()
    const device = await redeem(secrets.token, key)
    expect(device).toMatchObject({ name: 'phone', person: 'ada', publicKey: key })
    await expect(redeem(secrets.token, publicKey())).rejects.toMatchObject({ code: 'link_used' })
  })

  it('give the same answer again for some seconds to the one that may have lost it', async () => {
    const { secrets } = await make()
    const key = publicKey()
    const device = await redeem(secrets.token, key)
    expect(await redeem(secrets.token, key, later(10_000))).toEqual(device)
    await expect(redeem(secrets.token, key, later(20_000))).rejects.toMatchObject({ code: 'link_used' })
  })

  it('end with their time, and free their place', async () => {
    const { link, secrets } = await make(60_000)
    expect(await openLinks(database, later(59_000))).toHaveLength(1)
    expect(await openLinks(database, later(60_000))).toEqual([])
    await expect(redeem(secrets.token, publicKey(), later(60_000))).rejects.toMatchObject({
      code: 'link_expired',
    })
    await expect(redeem('x'.repeat(43), publicKey())).rejects.toMatchObject({ code: 'link_unknown' })
    expect((await add('laptop', later(60_000))).address4).toBe(link.address4)
  })

  it('are kept as a hash of 256 bits, without the private key of their place', async () => {
    const { secrets } = await make()
    expect(Buffer.from(secrets.token, 'base64url')).toHaveLength(32)
    const row = JSON.stringify(await database.selectFrom('links').selectAll().execute())
    expect(row).not.toContain(secrets.token)
    expect(row).not.toContain(secrets.privateKey)
  })

  it('can be withdrawn while they wait', async () => {
    const { secrets } = await makeLink(database, network, { name: 'phone', person: ada })
    expect((await listLinks(database)).map(({ name }) => name)).toEqual(['phone'])
    await withdrawLink(database, 'phone')
    expect(await listLinks(database)).toEqual([])
    await expect(
      redeemLink(database, network, { token: secrets.token, publicKey: publicKey() }),
    ).rejects.toMatchObject({
      code: 'link_unknown',
    })
    await expect(withdrawLink(database, 'phone')).rejects.toMatchObject({ code: 'link_missing' })
  })

  it('used at the same time by two let one in', async () => {
    const { secrets } = await make()
    const all = await Promise.allSettled([
      redeem(secrets.token, publicKey()),
      redeem(secrets.token, publicKey()),
    ])
    expect(all.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  })

  it('are a text that says what it is when it is not whole', async () => {
    const { link, secrets } = await makeLink(database, network, { name: 'phone', person: ada })
    const { makeAuthority } = await import('@sotto/certs/authority.ts')
    const { rootCertificate, fingerprint } = await makeAuthority(join(directory, 'certs'), {
      name: 'Sotto CA of test',
      permitted: { dns: ['sotto.internal'], ip: [network.range4, network.range6] },
    })
    const text = linkText(link, secrets, {
      network: { ...network, endpoint: 'hub:1' },
      port: 8443,
      rootCertificate,
    })
    expect(text).toMatch(/^https:\/\/10\.77\.0\.1:8443\/link#[\w-]+$/)
    expect(parseLink(text)).toMatchObject({
      token: secrets.token,
      fingerprint,
      endpoint: 'hub:1',
      port: 8443,
    })
    for (const broken of ['', 'https://10.77.0.1:8443/link', text.slice(0, -9), `${text}x!`])
      expect(() => parseLink(broken), broken).toThrow(expect.objectContaining({ code: 'link_damaged' }))
    expect(() => parseLink(text, Date.parse(link.expiresAt))).toThrow(
      expect.objectContaining({ code: 'link_expired' }),
    )
  })
})

describe('rules', () => {
  beforeEach(() => open('10.77.0.0/24'))

  it('name people, devices, the gateway and the host, and nobody else', async () => {
    const phone = await add('phone')
    await addRule(database, { action: 'allow', from: 'person:ada', to: 'host' })
    const { id } = await addRule(database, { action: 'deny', from: 'device:phone', to: 'gateway' })
    expect(await listRules(database)).toEqual([
      { action: 'allow', from: { kind: 'person', id: ada.id }, to: { kind: 'host' } },
      { action: 'deny', from: { kind: 'device', id: phone.id }, to: { kind: 'gateway' } },
    ])
    for (const [from, to, code] of [
      ['device:tablet', 'all', 'device_missing'],
      ['person:eve', 'all', 'person_missing'],
      ['phone', 'all', 'rule_party'],
      ['gateway', 'all', 'rule_from'],
    ] as const)
      await expect(addRule(database, { action: 'allow', from, to }), from).rejects.toMatchObject({ code })
    await removeDevice(database, 'phone')
    expect((await nameRules(database))[1]?.from).toBe('device:phone (removed)')
    await removeRule(database, id)
    await expect(removeRule(database, id)).rejects.toMatchObject({ code: 'rule_missing' })
  })
})

describe('traffic', () => {
  beforeEach(() => open('10.77.0.0/24'))
  const reading = (key: string, receivedBytes: number): LivePeer => ({
    publicKey: key,
    endpoint: '192.0.2.9:1',
    allowedIps: [],
    latestHandshake: 1_763_640_000,
    receivedBytes,
    sentBytes: 2 * receivedBytes,
  })
  const none = new Set<string>()

  it('is summed over counters that begin anew', async () => {
    const { id, publicKey: key } = await add('phone')
    const total = async () => (await readTraffic(database)).get(id)?.receivedBytes
    await recordTraffic(database, [reading(key, 100)], none)
    await recordTraffic(database, [reading(key, 150)], none)
    expect(await total()).toBe(150)
    // A restart that is seen by itself, and one that only the reader knows of.
    await recordTraffic(database, [reading(key, 40)], none)
    expect(await total()).toBe(190)
    await recordTraffic(database, [reading(key, 60)], new Set([key]))
    expect(await total()).toBe(250)
    await recordTraffic(database, [reading(key, 60), reading('stranger', 9)], none)
    expect(await total()).toBe(250)
    expect((await viewDevices(database, 1_763_640_100_000))[0]).toMatchObject({
      state: 'online',
      receivedBytes: 250,
      sentBytes: 500,
      endpoint: '192.0.2.9:1',
    })
    expect((await viewDevices(database, 1_763_640_180_000))[0]?.state).toBe('offline')
  })
})

describe('paths', () => {
  beforeEach(() => open('10.77.0.0/24'))

  it('keep since when they are as they are', async () => {
    const [phone, laptop] = [await add('phone'), await add('laptop')]
    const tell = (state: 'direct' | 'relayed', reason: string | null, now: number) =>
      recordPaths(database, phone.id, [{ peerId: laptop.id, state, reason }], later(now))
    await tell('relayed', 'one', 0)
    await tell('relayed', 'two', 1_000)
    expect((await readPaths(database)).get(phone.id)).toEqual([
      { peerId: laptop.id, state: 'relayed', reason: 'two', since: later(0).toISOString() },
    ])
    await tell('direct', null, 2_000)
    const view = (await viewDevices(database)).find(({ id }) => id === phone.id)
    expect(view?.paths).toEqual([
      { peer: 'laptop', state: 'direct', reason: null, since: later(2_000).toISOString() },
    ])
    expect(JSON.stringify(view)).not.toContain('preshared')
  })
})
