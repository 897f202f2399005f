/** An address alone changes nothing. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  forgetConfirmations,
  makeAdminCode,
  setAdminPassword,
} from '@sotto/provisioning/registry/confirmation.ts'
import { addKey } from '@sotto/provisioning/registry/key.ts'
import { ensurePerson } from '@sotto/provisioning/registry/person.ts'
import type { Me } from '#protocol/admin.ts'
import type { Refusal } from '#protocol/devices.ts'
import { serveAdmin, type Asked, type ServedAdmin } from './admin.fixture.ts'

let admin: ServedAdmin
let phone: string
const fresh = async () => {
  admin = await serveAdmin()
  phone = admin.phone.address4
}
const close = async () => {
  vi.useRealTimers()
  await admin.close()
}

const code = (answer: Asked) => [answer.status, (answer.json() as Refusal).error.code]
const post = (body: unknown, from = phone, headers = {}) =>
  admin.ask(
    '/sotto/admin/confirmation',
    { method: 'POST', body, headers: { origin: admin.origin, ...headers } },
    from,
  )
const addTenant = (cookie: string, from = phone, headers: Record<string, string> = {}) =>
  admin.ask(
    '/sotto/admin/tenants',
    { method: 'POST', body: { name: 'guests' }, headers: { origin: admin.origin, cookie, ...headers } },
    from,
  )
const me = async (cookie = '', from = phone) => {
  const answer = await admin.ask('/sotto/me', { headers: { cookie } }, from)
  return answer.json() as Me
}
/** Goes to a time; only the clock is another one. */
const at = (ms: number) => vi.useFakeTimers({ toFake: ['Date'], now: ms })

const mutations = [
  ['PUT', 'password', { password: 'four words are enough' }],
  ['POST', 'tenants', { name: 'guests' }],
  ['PATCH', 'tenants/home', { disabled: true }],
  ['DELETE', 'tenants/home'],
  ['POST', 'people', { name: 'Cleo' }],
  ['PATCH', 'people/Bob', { name: 'Robert' }],
  ['DELETE', 'people/Bob'],
  ['POST', 'people/Bob/invitation'],
  ['POST', 'devices', { name: 'nas', by: 'config' }],
  ['PATCH', 'devices/tablet', { disabled: true }],
  ['POST', 'devices/tablet/rotation'],
  ['DELETE', 'devices/tablet'],
  ['DELETE', 'links/nas'],
  ['POST', 'rules', { action: 'allow', from: 'all', to: 'host' }],
  ['DELETE', 'rules/1'],
  ['POST', 'keys', { name: 'cron' }],
  ['POST', 'keys/cron/rotation'],
  ['PATCH', 'keys/cron', { disabled: true }],
  ['DELETE', 'keys/cron'],
  ['PATCH', 'limits/tenant:home', { concurrent: 1 }],
] as const

describe('a change', () => {
  beforeAll(fresh)
  afterAll(close)

  it.each(mutations)(
    '%s %s wants an admin, our own page and a confirmation of that device',
    async (method, path, body?) => {
      const ask = (from: string, headers: Record<string, string>) =>
        admin.ask(`/sotto/admin/${path}`, { method, body, headers }, from)
      const cookie = await admin.confirm(phone)
      const own = { origin: admin.origin, cookie }
      for (const from of [admin.tablet.address4, admin.guest])
        expect(code(await ask(from, own)), from).toEqual([403, 'forbidden'])
      expect(code(await ask(phone, { origin: admin.origin }))).toEqual([403, 'confirmation_required'])
      expect(code(await ask('127.0.0.1', own))).toEqual([403, 'confirmation_required'])
      expect(code(await ask(phone, { cookie, origin: 'https://elsewhere.example' }))).toEqual([
        403,
        'forbidden',
      ])
      expect(code(await ask(phone, { cookie }))).toEqual([403, 'cross_origin'])
      expect(code(await ask(phone, { ...own, 'sec-fetch-site': 'same-site' }))).toEqual([403, 'cross_origin'])
    },
  )

  it('is no program’s to make, whatever its key', async () => {
    const person = await ensurePerson(admin.database, 'Ada')
    const { secret } = await addKey(admin.database, { name: 'cron', person })
    await admin.follow()
    const headers = { authorization: `Bearer ${secret}` }
    expect(code(await addTenant(await admin.confirm(phone), phone, headers))).toEqual([403, 'forbidden'])
  })

  it('is taken as JSON alone, whatever a form of a page elsewhere may send', async () => {
    const cookie = await admin.confirm(phone)
    expect((await addTenant(cookie, phone, { 'content-type': 'text/plain' })).status).toBe(400)
    expect((await addTenant(cookie)).status).toBe(201)
  })

  it('may come with what browsers say of themselves', async () => {
    const cookie = await admin.confirm(phone)
    // It is there already.
    expect((await addTenant(cookie, phone, { 'sec-fetch-site': 'same-origin' })).status).toBe(409)
  })
})

describe('a confirmation', () => {
  beforeEach(fresh)
  afterEach(close)

  it('is given for a code, in a cookie that no script and no other site has', async () => {
    const answer = await post({ code: await makeAdminCode(admin.database) })
    expect(answer.status).toBe(204)
    const [set = ''] = answer.headers['set-cookie'] ?? []
    expect(set).toMatch(/^__Host-sotto-admin=[\w-]{43};/)
    for (const part of ['Secure', 'HttpOnly', 'SameSite=Strict', 'Path=/', 'Max-Age=2592000'])
      expect(set.split('; ')).toContain(part)
    const [cookie = ''] = set.split(';')
    const { confirmedUntil } = await me(cookie)
    expect(Date.parse(confirmedUntil ?? '') - Date.now()).toBeGreaterThan(11.9 * 3_600_000)
    expect((await me(cookie, '127.0.0.1')).confirmedUntil).toBeNull()
    expect((await me()).confirmedUntil).toBeNull()
  })

  it('takes a code however it is written, and once', async () => {
    const made = await makeAdminCode(admin.database)
    expect(made).toMatch(/^\d{4} \d{4}$/)
    expect((await post({ code: ` ${made.replace(' ', '-')} ` })).status).toBe(204)
    expect(code(await post({ code: made }))).toEqual([403, 'confirmation_wrong'])
  })

  it('is given to one of two who bring the same code at once', async () => {
    const made = { code: await makeAdminCode(admin.database) }
    const answers = await Promise.all([post(made), post(made, '127.0.0.1')])
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([204, 403]))
  })

  it('is not given for a code of before, of more than ten minutes ago, or none', async () => {
    const old = await makeAdminCode(admin.database)
    const made = await makeAdminCode(admin.database)
    if (old !== made) expect(code(await post({ code: old }))).toEqual([403, 'confirmation_wrong'])
    at(Date.now() + 10 * 60_000 + 1)
    expect(code(await post({ code: made }))).toEqual([403, 'confirmation_wrong'])
    expect(code(await post({ code: 'none' }))).toEqual([403, 'confirmation_wrong'])
    expect(code(await post({ password: 'none was set' }))).toEqual([403, 'confirmation_wrong'])
    expect((await post({ code: 12345678 })).status).toBe(400)
  })

  it('is stopped after five wrong tries of a device, and audited', async () => {
    await makeAdminCode(admin.database)
    for (let tries = 0; tries < 5; tries += 1) expect((await post({ code: '0000 000' })).status).toBe(403)
    const right = { code: await makeAdminCode(admin.database) }
    const stopped = await post(right)
    expect(code(stopped)).toEqual([429, 'rate_limited'])
    expect(Number(stopped.headers['retry-after'])).toBeGreaterThan(60)
    // Another device is not held to it.
    expect((await post(right, '127.0.0.1')).status).toBe(204)
    const tries = (await admin.audit()).filter(({ path }) => path === '/sotto/admin/confirmation')
    expect(tries.map(({ status, refusal }) => [status, refusal])).toEqual([
      ...Array.from({ length: 5 }, () => [403, 'confirmation_wrong']),
      [429, 'rate_limited'],
      [204, null],
    ])
  })

  it('counts tries that come at once, too', async () => {
    const answers = await Promise.all(Array.from({ length: 9 }, () => post({ code: '1' })))
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(4)
  })

  it('is nobody’s but the admin’s, from our own page', async () => {
    const made = { code: await makeAdminCode(admin.database) }
    for (const from of [admin.tablet.address4, admin.guest])
      expect(code(await post(made, from))).toEqual([403, 'forbidden'])
    expect(code(await post(made, phone, { origin: 'https://elsewhere.example' }))).toEqual([403, 'forbidden'])
    expect(code(await post(made, phone, { 'sec-fetch-site': 'cross-site' }))).toEqual([403, 'cross_origin'])
    expect((await post(made)).status).toBe(204)
  })

  it('ends twelve hours after its last use, and after thirty days whatever happens', async () => {
    const start = Date.now()
    const hours = 3_600_000
    const cookie = await admin.confirm(phone)
    at(start + 11 * hours)
    expect((await addTenant(cookie)).status).toBe(201)
    at(start + 22 * hours)
    expect((await addTenant(cookie)).status).toBe(409)
    at(start + 35 * hours)
    expect(code(await addTenant(cookie))).toEqual([403, 'confirmation_required'])
    const second = await admin.confirm(phone)
    for (let passed = 0; passed < 30 * 24; passed += 10) {
      at(start + (35 + passed) * hours)
      expect((await addTenant(second)).status, `${passed} h`).toBe(409)
    }
    at(start + (35 + 30 * 24) * hours + 60_000)
    expect(code(await addTenant(second))).toEqual([403, 'confirmation_required'])
  })

  it('is ended by the page, and by `./sotto admin forget`', async () => {
    const cookie = await admin.confirm(phone)
    const headers = { origin: admin.origin, cookie }
    const ended = await admin.ask('/sotto/admin/confirmation', { method: 'DELETE', headers }, phone)
    expect([ended.status, ended.headers['set-cookie']?.[0]]).toEqual([
      204,
      expect.stringContaining('Max-Age=0'),
    ])
    expect(code(await addTenant(cookie))).toEqual([403, 'confirmation_required'])
    const second = await admin.confirm(phone)
    const waiting = await makeAdminCode(admin.database)
    await forgetConfirmations(admin.database)
    expect(code(await addTenant(second))).toEqual([403, 'confirmation_required'])
    expect((await post({ code: waiting })).status).toBe(403)
  })

  it('is kept as a hash, and so are code and password', async () => {
    const made = await makeAdminCode(admin.database)
    await setAdminPassword(admin.database, 'four words are enough')
    const waiting = await makeAdminCode(admin.database)
    const cookie = await admin.confirm(phone)
    const rows = JSON.stringify([
      await admin.database.selectFrom('admin_codes').selectAll().execute(),
      await admin.database.selectFrom('admin_password').selectAll().execute(),
      await admin.database.selectFrom('confirmations').selectAll().execute(),
    ])
    for (const secret of [made, waiting, 'four words are enough', cookie.split('=')[1] ?? ''])
      expect(rows).not.toContain(secret)
  })
})

describe('a password', () => {
  beforeEach(fresh)
  afterEach(close)

  const word = 'four words are enough'
  it('confirms, until it is changed or taken away; then other browsers are asked again', async () => {
    const set = (password: string | null) => admin.change('PUT', 'password', { password }, phone)
    const elsewhere = await admin.confirm()
    expect((await set('too short')).status).toBe(400)
    expect((await set(word)).status).toBe(204)
    expect((await me()).hasPassword).toBe(true)
    expect((await me('', admin.tablet.address4)).hasPassword).toBe(false)
    // The one that set it goes on.
    expect(code(await addTenant(elsewhere, '127.0.0.1'))).toEqual([403, 'confirmation_required'])
    expect((await set(word)).status).toBe(204)
    expect(code(await post({ password: `${word}!` }))).toEqual([403, 'confirmation_wrong'])
    const answer = await post({ password: word })
    const [cookie = ''] = answer.headers['set-cookie']?.[0]?.split(';') ?? []
    expect((await addTenant(cookie)).status).toBe(201)
    expect((await set(null)).status).toBe(204)
    expect(code(await post({ password: word }))).toEqual([403, 'confirmation_wrong'])
    expect((await me()).hasPassword).toBe(false)
  })
})
