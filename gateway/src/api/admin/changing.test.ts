/** What the admin's pages change: in force when it answers, refused with what helps. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseLink } from '@sotto/provisioning/enrolment/link.ts'
import { findDevice, type Device } from '@sotto/provisioning/registry/device.ts'
import { findKey } from '@sotto/provisioning/registry/key.ts'
import { redeemLink } from '@sotto/provisioning/registry/link.ts'
import { requireNetwork } from '@sotto/provisioning/registry/network.ts'
import { makeKeyPair } from '@sotto/provisioning/overlay/keys.ts'
import type {
  KeyList,
  KeyStatus,
  LimitStatus,
  LinkList,
  MadeKeyAnswer,
  NewDeviceAnswer,
  PeopleList,
  RuleList,
} from '#protocol/admin.ts'
import type { Refusal } from '#protocol/devices.ts'
import { serveAdmin, type Asked, type ServedAdmin } from './admin.fixture.ts'

let admin: ServedAdmin
let phone: Device
beforeEach(async () => {
  admin = await serveAdmin()
  ;({ phone } = admin)
})
afterEach(() => admin.close())

const change = (method: string, path: string, body?: unknown) =>
  admin.change(method, path, body, phone.address4)
const read = async <Body>(page: string) => (await admin.ask(`/sotto/admin/${page}`)).json() as Body
const refused = (answer: Asked) => {
  const { code, message, remedy } = (answer.json() as Refusal).error
  expect(message).not.toBe('')
  return [answer.status, code, remedy === '' ? 'no remedy' : 'remedy']
}
const people = (answer: Asked) =>
  (answer.json() as PeopleList).tenants.map(({ name, people: own }) => [name, ...own.map((one) => one.name)])
/** Whether an address may speak to the gateway. */
const mayAsk = async (address: string) => (await admin.ask('/sotto/me', {}, address)).status === 200
const tomorrow = () => new Date(Date.now() + 86_400_000).toISOString()

describe('people and tenants', () => {
  it('come, move, change their names and go', async () => {
    const added = await change('POST', 'tenants', { name: 'guests' })
    expect([added.status, people(added)]).toEqual([201, [['home', 'Ada', 'Bob'], ['guests']]])
    const cleo = await change('POST', 'people', { name: 'Cleo', tenant: 'guests' })
    expect([cleo.status, people(cleo)]).toEqual([
      201,
      [
        ['home', 'Ada', 'Bob'],
        ['guests', 'Cleo'],
      ],
    ])
    expect(people(await change('PATCH', 'people/Cleo', { name: 'Cleo Ö', tenant: 'home' }))).toEqual([
      ['home', 'Ada', 'Bob', 'Cleo Ö'],
      ['guests'],
    ])
    expect(people(await change('DELETE', `people/${encodeURIComponent('Cleo Ö')}`))).toEqual([
      ['home', 'Ada', 'Bob'],
      ['guests'],
    ])
    expect(people(await change('DELETE', 'tenants/guests'))).toEqual([['home', 'Ada', 'Bob']])
  })

  it('are shut out at once with their tenant, and let in again', async () => {
    await change('POST', 'tenants', { name: 'guests' })
    await change('PATCH', 'people/Bob', { tenant: 'guests' })
    const tablet = admin.tablet.address4
    expect(await mayAsk(tablet)).toBe(true)
    await change('PATCH', 'tenants/guests', { disabled: true })
    expect(await mayAsk(tablet)).toBe(false)
    await change('PATCH', 'tenants/guests', { disabled: false })
    expect(await mayAsk(tablet)).toBe(true)
  })

  it('stay where others depend on them', async () => {
    await change('POST', 'tenants', { name: 'guests' })
    expect(refused(await change('POST', 'tenants', { name: 'guests' }))).toEqual([
      409,
      'tenant_exists',
      'remedy',
    ])
    expect(refused(await change('POST', 'people', { name: 'Bob' }))).toEqual([409, 'person_exists', 'remedy'])
    expect(refused(await change('DELETE', 'tenants/home'))).toEqual([409, 'tenant_in_use', 'remedy'])
    expect(refused(await change('DELETE', 'people/Bob'))).toEqual([409, 'person_in_use', 'remedy'])
    expect(refused(await change('DELETE', 'people/nobody'))).toEqual([404, 'person_missing', 'remedy'])
    expect(refused(await change('POST', 'people', { name: 'Cleo', tenant: 'none' }))).toEqual([
      404,
      'tenant_missing',
      'remedy',
    ])
    // Nothing of what was refused is there.
    expect(people(await admin.ask('/sotto/admin/people'))).toEqual([['home', 'Ada', 'Bob'], ['guests']])
  })

  it('do not shut the admin out', async () => {
    expect(refused(await change('PATCH', 'tenants/home', { disabled: true }))).toEqual([
      409,
      'own_tenant',
      'remedy',
    ])
    await change('POST', 'tenants', { name: 'closed' })
    await change('PATCH', 'tenants/closed', { disabled: true })
    expect(refused(await change('PATCH', 'people/Ada', { tenant: 'closed' }))).toEqual([
      409,
      'own_tenant',
      'remedy',
    ])
    expect(refused(await change('DELETE', 'people/Ada'))).toEqual([409, 'person_in_use', 'remedy'])
  })

  it('go for good once nothing is theirs, with what a rule says of them', async () => {
    await change('POST', 'rules', { action: 'allow', from: 'person:Bob', to: 'host' })
    await change('DELETE', 'devices/tablet')
    expect((await change('DELETE', 'people/Bob')).status).toBe(200)
    expect((await read<RuleList>('rules')).rules).toEqual([])
    expect(people(await change('POST', 'people', { name: 'Bob' }))).toEqual([['home', 'Ada', 'Bob']])
  })
})

describe('devices', () => {
  it('are added with a config that is shown once, for whoever is named', async () => {
    const answer = await change('POST', 'devices', {
      name: 'laptop',
      person: 'Cleo',
      by: 'config',
      expiresAt: tomorrow(),
    })
    expect(answer.status).toBe(201)
    const { name, ...made } = answer.json() as NewDeviceAnswer
    expect(name).toBe('laptop')
    expect(made).toMatchObject({ by: 'config', config: expect.stringContaining('PrivateKey = ') })
    const device = await findDevice(admin.database, 'laptop')
    expect(device).toMatchObject({ person: 'Cleo', expiresAt: expect.any(String) })
    expect(await mayAsk(device.address4)).toBe(true)
    expect((await admin.ask('/sotto/admin/people')).text).not.toContain(device.presharedKey)
  })

  it('are added by a link, which says all that a device needs, and can be withdrawn', async () => {
    const expiresAt = tomorrow()
    const wish = { name: 'attic', by: 'link', linkLifeMs: 3_600_000, expiresAt }
    const answer = (await change('POST', 'devices', wish)).json() as NewDeviceAnswer
    if (answer.by !== 'link') throw new Error('no link')
    const { url, config, join, expiresAt: until } = answer.link
    const content = parseLink(url)
    expect(join).toBe(`sudo ./sotto join '${url}'`)
    expect(config).toContain(`PrivateKey = ${content.privateKey}`)
    expect(config).toContain(`Address = ${content.address4}/32`)
    expect(config).toContain('Endpoint = home.example:51820')
    expect(Date.parse(until) - Date.now()).toBeLessThan(3_600_001)
    const { links } = await read<LinkList>('links')
    expect(links.map(({ name }) => name)).toEqual(['nas', 'attic'])
    const network = await requireNetwork(admin.database)
    const { publicKey } = makeKeyPair()
    const device = await redeemLink(admin.database, network, { token: content.token, publicKey })
    expect(device).toMatchObject({ name: 'attic', expiresAt })
    expect((await change('DELETE', 'links/nas')).status).toBe(204)
    expect((await read<LinkList>('links')).links).toEqual([])
    expect(refused(await change('DELETE', 'links/nas'))).toEqual([404, 'link_missing', 'remedy'])
  })

  it('are renamed, disabled, enabled, ended and removed, at once', async () => {
    const { address4 } = admin.tablet
    expect(
      (await change('PATCH', 'devices/tablet', { name: 'Bob’s'.replace('’', '-'), disabled: true })).status,
    ).toBe(204)
    expect(await mayAsk(address4)).toBe(false)
    await change('PATCH', 'devices/Bob-s', { disabled: false })
    expect(await mayAsk(address4)).toBe(true)
    await change('PATCH', 'devices/Bob-s', { expiresAt: new Date().toISOString() })
    expect(await mayAsk(address4)).toBe(false)
    await change('PATCH', 'devices/Bob-s', { expiresAt: null })
    expect(await mayAsk(address4)).toBe(true)
    expect((await change('DELETE', 'devices/Bob-s')).status).toBe(204)
    expect(await mayAsk(address4)).toBe(false)
  })

  it('get another key, and the old one is of no use', async () => {
    const before = await findDevice(admin.database, 'tablet')
    const answer = await change('POST', 'devices/tablet/rotation')
    expect(answer.json()).toMatchObject({
      by: 'config',
      name: 'tablet',
      config: expect.stringContaining('[Peer]'),
    })
    expect((await findDevice(admin.database, 'tablet')).publicKey).not.toBe(before.publicKey)
  })

  it('are not taken from under the one who asks', async () => {
    const own = [409, 'own_device', 'remedy']
    expect(refused(await change('DELETE', 'devices/phone'))).toEqual(own)
    expect(refused(await change('POST', 'devices/phone/rotation'))).toEqual(own)
    expect(refused(await change('PATCH', 'devices/phone', { disabled: true }))).toEqual(own)
    expect(refused(await change('PATCH', 'devices/phone', { expiresAt: '2020-01-01T00:00:00Z' }))).toEqual(
      own,
    )
    for (const from of ['all', 'person:Ada', 'device:phone'])
      expect(refused(await change('POST', 'rules', { action: 'deny', from, to: 'gateway' }))).toEqual(own)
    expect((await change('PATCH', 'devices/phone', { name: 'my phone', expiresAt: tomorrow() })).status).toBe(
      204,
    )
    // The gateway’s own machine may.
    expect((await admin.change('DELETE', 'devices/my%20phone')).status).toBe(204)
  })

  it('are refused by name, with what is wrong', async () => {
    for (const by of ['config', 'link'])
      expect(refused(await change('POST', 'devices', { name: 'tablet', by }))).toEqual([
        409,
        'device_exists',
        'remedy',
      ])
    expect(refused(await change('POST', 'devices', { name: '../x', by: 'config' }))).toEqual([
      400,
      'device_name',
      'remedy',
    ])
    expect(refused(await change('PATCH', 'devices/none', { disabled: true }))).toEqual([
      404,
      'device_missing',
      'remedy',
    ])
    for (const [body, field] of [
      [{ name: 'x', by: 'pigeon' }, 'by'],
      [{ name: 'x', by: 'config', expiresAt: 'soon' }, 'expiresAt'],
      [{ name: 'x', by: 'config', colour: 'red' }, 'colour'],
    ] as const) {
      const answer = await change('POST', 'devices', body)
      expect([answer.status, (answer.json() as Refusal).error.message]).toEqual([
        400,
        expect.stringMatching(new RegExp(`^${field}: `)),
      ])
    }
  })
})

describe('rules', () => {
  it('are made and taken back', async () => {
    const made = await change('POST', 'rules', { action: 'deny', from: 'device:tablet', to: 'gateway' })
    expect([made.status, made.json()]).toEqual([
      201,
      { id: 1, action: 'deny', from: 'device:tablet', to: 'gateway' },
    ])
    expect((await change('DELETE', 'rules/1')).status).toBe(204)
    expect(refused(await change('DELETE', 'rules/1'))).toEqual([404, 'rule_missing', 'remedy'])
    expect(refused(await change('DELETE', 'rules/x'))).toEqual([404, 'rule_missing', 'remedy'])
    expect(
      refused(await change('POST', 'rules', { action: 'allow', from: 'device:none', to: 'host' })),
    ).toEqual([404, 'device_missing', 'remedy'])
    expect(refused(await change('POST', 'rules', { action: 'allow', from: 'x', to: 'host' }))).toEqual([
      400,
      'rule_party',
      'remedy',
    ])
  })
})

describe('keys', () => {
  const asks = async (secret: string) =>
    (await admin.ask('/sotto/me', { headers: { authorization: `Bearer ${secret}` } }, phone.address4)).status

  it('are made, rotated, disabled, ended and removed', async () => {
    const wish = {
      name: 'cron',
      services: ['chat'],
      models: ['tiny*'],
      ranges: ['127.77.0.0/24'],
      promptLogMs: 86_400_000,
    }
    const answer = await change('POST', 'keys', wish)
    expect(answer.status).toBe(201)
    const { key, secret } = answer.json() as MadeKeyAnswer
    expect(key).toMatchObject({ ...wish, person: 'Ada', state: 'active', device: null, expiresAt: null })
    expect(await asks(secret)).toBe(200)
    const rotated = (await change('POST', 'keys/cron/rotation', { overlapMs: 0 })).json() as MadeKeyAnswer
    expect([await asks(secret), await asks(rotated.secret)]).toEqual([401, 200])
    expect(rotated.key.prefixes).toHaveLength(1)
    const again = (await change('POST', 'keys/cron/rotation')).json() as MadeKeyAnswer
    expect(again.key.prefixes).toHaveLength(2)
    expect([await asks(again.secret), await asks(rotated.secret)]).toEqual([200, 200])
    const state = async (body: object) =>
      ((await change('PATCH', 'keys/cron', body)).json() as KeyStatus).state
    expect([await state({ disabled: true }), await asks(again.secret)]).toEqual(['disabled', 401])
    expect([await state({ disabled: false }), await asks(again.secret)]).toEqual(['active', 200])
    expect([await state({ expiresAt: new Date().toISOString() }), await asks(again.secret)]).toEqual([
      'expired',
      401,
    ])
    expect([await state({ expiresAt: null }), await asks(again.secret)]).toEqual(['active', 200])
    expect((await change('DELETE', 'keys/cron')).status).toBe(204)
    expect(await asks(again.secret)).toBe(401)
    expect((await read<KeyList>('keys')).keys).toEqual([])
  })

  it('show their secret once, and their hashes never', async () => {
    const { secret } = (
      await change('POST', 'keys', { name: 'cron', device: 'phone' })
    ).json() as MadeKeyAnswer
    const { secrets } = await findKey(admin.database, 'cron')
    const listed = await admin.ask('/sotto/admin/keys')
    expect(listed.text).not.toContain(secret)
    for (const text of [listed.text, (await change('PATCH', 'keys/cron', { disabled: true })).text])
      expect(text).not.toContain(secrets[0]?.hash)
  })

  it('are refused by name, with what is wrong', async () => {
    await change('POST', 'keys', { name: 'cron' })
    expect(refused(await change('POST', 'keys', { name: 'cron' }))).toEqual([409, 'key_exists', 'remedy'])
    expect(refused(await change('POST', 'keys', { name: 'a', ranges: ['x'] }))).toEqual([
      400,
      'key_range',
      'remedy',
    ])
    expect(refused(await change('POST', 'keys', { name: 'a', expiresAt: '2020-01-01T00:00:00Z' }))).toEqual([
      400,
      'key_expiry',
      'remedy',
    ])
    expect(refused(await change('POST', 'keys', { name: 'a', device: 'none' }))).toEqual([
      404,
      'device_missing',
      'remedy',
    ])
    expect(refused(await change('POST', 'keys/none/rotation'))).toEqual([404, 'key_missing', 'remedy'])
  })
})

describe('limits', () => {
  it('are set in parts, and taken away in parts', async () => {
    const set = async (body: object) =>
      (await change('PATCH', 'limits/device%3Atablet', body)).json() as LimitStatus
    expect(await set({ tokensPerDay: 1000, models: ['tiny'] })).toMatchObject({
      party: 'device:tablet',
      limits: { tokensPerDay: 1000, models: ['tiny'], concurrent: null },
      spent: { day: 0, month: 0, total: 0 },
    })
    expect(await set({ models: null })).toMatchObject({ limits: { tokensPerDay: 1000, models: null } })
    const own = (await admin.ask('/sotto/me', {}, admin.tablet.address4)).json()
    expect(own).toMatchObject({ limits: [{ party: 'device:tablet', limits: { tokensPerDay: 1000 } }] })
    expect((await change('PATCH', 'limits/device:tablet', { concurrent: -1 })).status).toBe(400)
    expect(refused(await change('PATCH', 'limits/tenant:none', {}))).toEqual([
      404,
      'tenant_missing',
      'remedy',
    ])
    expect(refused(await change('PATCH', 'limits/x', {}))).toEqual([400, 'party', 'remedy'])
  })
})

describe('the audit', () => {
  it('names what was done, by whom, and what was refused', async () => {
    await change('POST', 'devices', { name: 'Ada laptop', by: 'config' })
    await change('PATCH', 'devices/tablet', { disabled: true })
    await change('DELETE', 'devices/none')
    await change('PUT', 'password', { password: 'four words are enough' })
    const rows = (await admin.audit()).filter(({ path }) => path !== '/sotto/admin/confirmation')
    expect(rows.map((row) => [row.device, row.method, row.path, row.status, row.refusal])).toEqual([
      ['phone', 'POST', '/sotto/admin/devices/Ada%20laptop', 201, null],
      ['phone', 'PATCH', '/sotto/admin/devices/tablet', 204, null],
      ['phone', 'DELETE', '/sotto/admin/devices/none', 404, 'device_missing'],
      ['phone', 'PUT', '/sotto/admin/password', 204, null],
    ])
    expect(JSON.stringify(rows)).not.toContain('four words')
  })
})
