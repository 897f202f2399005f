/** Who comes in, who does not, and what those learn who should not. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { removePerson } from '@sotto/provisioning/registry/person.ts'
import { setTenantDisabled } from '@sotto/provisioning/registry/tenant.ts'
import type { Account, AccountHere } from '#protocol/account.ts'
import { serveAccounts, type ServedAccounts } from './account.fixture.ts'

const password = 'four words are enough'
let served: ServedAccounts

beforeEach(async () => {
  served = await serveAccounts()
  await served.join('Bob', password, 'bob@example.org')
})
afterEach(async () => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  await served.close()
})

/** Goes to a time; only the clock is another one. */
const at = (ms: number) => vi.useFakeTimers({ toFake: ['Date'], now: ms })
const day = 86_400_000

describe('signing in', () => {
  it.each(['bob@example.org', 'Bob@Example.ORG ', 'Bob'])('goes by %s and the password', async (who) => {
    const bob = served.visitor()
    expect((await bob.ask('GET', '/me')).refusal()).toEqual([401, 'signed_out'])
    const answer = await bob.ask('POST', '/session', { who, password })
    expect(answer.status).toBe(204)
    const [cookie = ''] = answer.headers['set-cookie'] ?? []
    expect(cookie).toMatch(/^__Host-sotto-session=[\w-]{43}; .*Path=\/; HttpOnly; Secure; SameSite=Strict$/)
    expect((await bob.ask('GET', '/me')).json()).toMatchObject({
      person: 'Bob',
      mail: 'bob@example.org',
      hasPassword: true,
      sessions: [{ current: true, address: bob.from }],
    })
    const audit = await served.audit()
    expect(audit.at(-1)).toMatchObject({ method: 'POST', path: '/sotto/account/session', person: 'Bob' })
    const row = await served.database.selectFrom('sessions').selectAll().executeTakeFirstOrThrow()
    expect(JSON.stringify(row)).not.toContain(bob.cookies.get('__Host-sotto-session'))
  })

  it('looks the same for a wrong name, a wrong password and an account without one', async () => {
    const answers = []
    for (const who of ['bob@example.org', 'Bob', 'Ada', 'nobody', 'nobody@example.org']) {
      const answer = await served.visitor().ask('POST', '/session', { who, password: 'not this one' })
      expect(answer.refusal()).toEqual([403, 'sign_in_wrong'])
      expect(answer.headers['set-cookie']).toBeUndefined()
      answers.push(answer.text)
    }
    expect(new Set(answers).size).toBe(1)
    // The audit says that it was refused, and to whom it is unknown.
    const rows = await served.audit()
    expect(rows.map(({ refusal, person }) => [refusal, person])).toEqual(
      Array.from({ length: 5 }, () => ['sign_in_wrong', null]),
    )
  })

  it('from outside is of an address in the audit, and of no device that could be disabled', async () => {
    const outside = served.visitor()
    await outside.ask('POST', '/session', { who: 'Bob', password: 'not this one' })
    const home = served.visitor(served.tablet.address4)
    await home.ask('POST', '/session', { who: 'Bob', password: 'not this one' })
    expect((await served.audit()).map(({ device, address }) => [device, address])).toEqual([
      [null, outside.from],
      ['tablet', home.from],
    ])
  })

  it('takes nothing from a page elsewhere, nor what is no JSON', async () => {
    const body = { who: 'Bob', password }
    const refused = async (headers: Record<string, string>) =>
      (await served.visitor().ask('POST', '/session', body, headers)).refusal()
    expect(await refused({ origin: 'https://evil.example' })).toEqual([403, 'forbidden'])
    expect(await refused({ 'sec-fetch-site': 'same-site' })).toEqual([403, 'cross_origin'])
    expect(await refused({ 'sec-fetch-site': 'cross-site' })).toEqual([403, 'cross_origin'])
    expect(await refused({ 'content-type': 'text/plain' })).toEqual([400, 'invalid'])
    const large = { who: 'Bob', password, more: 'x'.repeat(70_000) }
    expect((await served.visitor().ask('POST', '/session', large)).refusal()).toEqual([413, 'too_large'])
  })

  it('wants our own page for each change of who is signed in, too', async () => {
    const bob = await served.signIn('Bob', password)
    for (const [method, path, body] of [
      ['DELETE', '/session'],
      ['POST', '/proof', { password }],
      ['PUT', '/password', { password: 'another one of mine' }],
      ['POST', '/keys', { name: 'cron', services: ['chat'] }],
      ['DELETE', '/sessions'],
      ['DELETE', '/me'],
    ] as const) {
      const answer = await bob.ask(method, path, body, { 'sec-fetch-site': 'cross-site' })
      expect(answer.refusal(), path).toEqual([403, 'cross_origin'])
    }
    expect((await bob.ask('GET', '/me')).status).toBe(200)
  })

  it('slows down who guesses, counts before it looks, and forgets no try for coming at once', async () => {
    const guesses = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        served.visitor().ask('POST', '/session', { who: 'Bob', password: `a guess, number ${index}` }),
      ),
    )
    const statuses = guesses.map(({ status }) => status)
    expect(statuses.filter((status) => status === 403)).toHaveLength(6)
    const refused = guesses.find(({ status }) => status === 429)
    expect(refused?.refusal()).toEqual([429, 'rate_limited'])
    expect(Number(refused?.headers['retry-after'])).toBeGreaterThanOrEqual(1)
  })

  it('lets strangers slow down nobody in a browser where they signed in before', async () => {
    const bob = await served.signIn('Bob', password)
    await bob.ask('DELETE', '/session')
    for (let index = 0; index < 8; index += 1)
      await served
        .visitor(`127.200.1.${index + 1}`)
        .ask('POST', '/session', { who: 'Bob', password: 'a guess' })
    const fromElsewhere = await served
      .visitor('127.200.2.1')
      .ask('POST', '/session', { who: 'Bob', password })
    expect(fromElsewhere.refusal()).toEqual([429, 'rate_limited'])
    expect((await bob.ask('POST', '/session', { who: 'Bob', password })).status).toBe(204)
    // And whoever waits comes in from anywhere.
    const then = performance.now() + 61_000
    vi.spyOn(performance, 'now').mockReturnValue(then)
    const later = await served.visitor('127.200.2.1').ask('POST', '/session', { who: 'Bob', password })
    expect(later.status).toBe(204)
  })

  it('gives no way around the guesses by one’s own account', async () => {
    await served.join('Mallory', 'mallory’s own words')
    let refused = 0
    for (let index = 0; index < 16; index += 1) {
      const mallory = served.visitor('127.200.3.1')
      await mallory.ask('POST', '/session', { who: 'Mallory', password: 'mallory’s own words' })
      const guess = await mallory.ask('POST', '/session', { who: `person ${index}`, password: 'a guess' })
      if (guess.status === 429) refused += 1
    }
    expect(refused).toBeGreaterThan(0)
  })
})

describe('a session', () => {
  it('ends when its person signs out, and a new one takes the place of the one before', async () => {
    const bob = await served.signIn('Bob', password)
    const before = bob.cookies.get('__Host-sotto-session') ?? ''
    await bob.ask('POST', '/session', { who: 'Bob', password })
    const after = bob.cookies.get('__Host-sotto-session') ?? ''
    expect(after).not.toBe(before)
    const old = await served
      .visitor()
      .ask('GET', '/me', undefined, { cookie: `__Host-sotto-session=${before}` })
    expect(old.refusal()).toEqual([401, 'signed_out'])
    expect((await bob.ask('DELETE', '/session')).status).toBe(204)
    const gone = await served
      .visitor()
      .ask('GET', '/me', undefined, { cookie: `__Host-sotto-session=${after}` })
    expect(gone.refusal()).toEqual([401, 'signed_out'])
  })

  it('ends after a week without use, and after a month however much it is used', async () => {
    const start = Date.now()
    const bob = await served.signIn('Bob', password)
    for (let days = 5; days < 30; days += 5) {
      at(start + days * day)
      expect((await bob.ask('GET', '/me')).status, `day ${days}`).toBe(200)
    }
    at(start + 30 * day + 10_000)
    expect((await bob.ask('GET', '/me')).status).toBe(401)
    vi.useRealTimers()
    const idle = await served.signIn('Bob', password)
    at(start + 7 * day + 10_000)
    expect((await idle.ask('GET', '/me')).status).toBe(401)
  })

  it('is one of a list from which others are ended', async () => {
    const [desk, couch, train] = [
      await served.signIn('Bob', password),
      await served.signIn('Bob', password, served.tablet.address4),
      await served.signIn('Bob', password),
    ]
    const { sessions } = (await desk.ask('GET', '/me')).json() as Account
    expect(sessions.map(({ current }) => current).filter(Boolean)).toHaveLength(1)
    const lost = sessions.find((one) => one.address === served.tablet.address4)
    expect((await desk.ask('DELETE', `/sessions/${lost?.id}`)).status).toBe(204)
    expect((await couch.ask('GET', '/me')).refusal()).toEqual([401, 'signed_out'])
    expect((await desk.ask('DELETE', `/sessions/${lost?.id}`)).refusal()).toEqual([404, 'not_found'])
    await desk.ask('DELETE', '/sessions')
    expect([(await desk.ask('GET', '/me')).status, (await train.ask('GET', '/me')).status]).toEqual([
      200, 401,
    ])
  })

  it('of somebody else can’t be ended', async () => {
    await served.join('Mallory', 'mallory’s own words')
    const bob = await served.signIn('Bob', password)
    const mallory = await served.signIn('Mallory', 'mallory’s own words')
    const [own] = ((await bob.ask('GET', '/me')).json() as Account).sessions
    expect((await mallory.ask('DELETE', `/sessions/${own?.id}`)).status).toBe(404)
    expect((await bob.ask('GET', '/me')).status).toBe(200)
  })

  it('ends with another password everywhere but where it was set, which wants a proof by then', async () => {
    const start = Date.now()
    const here = await served.signIn('Bob', password)
    const there = await served.signIn('Bob', password)
    at(start + 16 * 60_000)
    const next = 'four other words by now'
    expect((await here.ask('PUT', '/password', { password: next })).refusal()).toEqual([
      403,
      'proof_required',
    ])
    expect((await here.ask('POST', '/proof', { password: 'a guess' })).refusal()).toEqual([
      403,
      'sign_in_wrong',
    ])
    expect((await here.ask('POST', '/proof', { password })).status).toBe(204)
    expect((await here.ask('PUT', '/password', { password: 'short' })).refusal()).toEqual([
      400,
      'password_short',
    ])
    expect((await here.ask('PUT', '/password', { password: next })).status).toBe(204)
    expect([(await here.ask('GET', '/me')).status, (await there.ask('GET', '/me')).status]).toEqual([
      200, 401,
    ])
    expect((await served.visitor().ask('POST', '/session', { who: 'Bob', password })).status).toBe(403)
    await served.signIn('Bob', next)
  })

  it('ends at once with its person, and serves nothing while the tenant is disabled', async () => {
    await served.join('Cleo', 'cleo’s own four words')
    const cleo = await served.signIn('Cleo', 'cleo’s own four words')
    await setTenantDisabled(served.database, 'home', true)
    expect((await cleo.ask('GET', '/me')).refusal()).toEqual([403, 'forbidden'])
    await setTenantDisabled(served.database, 'home', false)
    expect((await cleo.ask('GET', '/me')).status).toBe(200)
    await removePerson(served.database, 'Cleo')
    expect((await cleo.ask('GET', '/me')).refusal()).toEqual([401, 'signed_out'])
    const again = { who: 'Cleo', password: 'cleo’s own four words' }
    expect((await cleo.ask('POST', '/session', again)).refusal()).toEqual([403, 'sign_in_wrong'])
  })
})

it('a page learns how one signs in here, and that browsers have passkeys for names alone', async () => {
  const here = async (host: string) =>
    (
      await served.visitor().ask('GET', '', undefined, { host: `${host}:${served.port}` })
    ).json() as AccountHere
  expect(await here('gateway.test')).toEqual({
    person: null,
    signUp: false,
    domains: null,
    reset: true,
    passkeys: true,
  })
  expect((await here('127.77.0.1')).passkeys).toBe(false)
  const wanted = await served.visitor().ask('POST', '/passkey-options', undefined, {
    host: `127.77.0.1:${served.port}`,
    origin: `https://127.77.0.1:${served.port}`,
  })
  expect(wanted.refusal()).toEqual([400, 'passkeys_need_name'])
})
