/**
 * Invitations, sign-ups and new passwords: good once, for a while, and silent about who is known. In the seed the
 * token that verified an address lay in clear.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { makeAccountLink } from '@sotto/provisioning/registry/account-link.ts'
import { listMails } from '@sotto/provisioning/registry/mail.ts'
import { ensurePerson, listPeople } from '@sotto/provisioning/registry/person.ts'
import { serveAccounts, type ServedAccounts } from './account.fixture.ts'

const password = 'four words are enough'
let served: ServedAccounts

beforeEach(async () => {
  served = await serveAccounts({ signUp: true, domains: ['example.org'] })
})
afterEach(async () => {
  vi.useRealTimers()
  await served.close()
})

const at = (ms: number) => vi.useFakeTimers({ toFake: ['Date'], now: ms })
const hour = 3_600_000

async function linkOf(kind: 'invitation' | 'sign-up' | 'reset' | 'mail', person?: string, mail?: string) {
  const personId = person === undefined ? undefined : (await ensurePerson(served.database, person)).id
  return (await makeAccountLink(served.database, { kind, personId, mail })).token
}

describe('an invitation', () => {
  it('is told what it is for, is used once, and signs in', async () => {
    const token = await linkOf('invitation', 'Cleo', 'cleo@example.org')
    const cleo = served.visitor()
    const told = await cleo.ask('POST', '/link', { token })
    expect(told.json()).toMatchObject({ kind: 'invitation', person: 'Cleo', mail: 'cleo@example.org' })
    expect((await cleo.ask('POST', '/link/use', { token })).refusal()).toEqual([400, 'password_wanted'])
    const short = await cleo.ask('POST', '/link/use', { token, password: 'short' })
    expect(short.refusal()).toEqual([400, 'password_short'])
    expect((await cleo.ask('POST', '/link/use', { token, password })).status).toBe(204)
    expect((await cleo.ask('GET', '/me')).json()).toMatchObject({ person: 'Cleo', mail: 'cleo@example.org' })
    const again = await served.visitor().ask('POST', '/link/use', { token, password: 'words of a thief' })
    expect(again.refusal()).toEqual([409, 'account_link_used'])
    const rows = await served.database.selectFrom('account_links').selectAll().execute()
    expect(JSON.stringify(rows)).not.toContain(token)
  })

  it('is used by one of two who bring it at once', async () => {
    const token = await linkOf('invitation', 'Cleo')
    const both = await Promise.all(
      ['the words of the first', 'the words of the second'].map((text) =>
        served.visitor().ask('POST', '/link/use', { token, password: text }),
      ),
    )
    expect(both.map(({ status }) => status).toSorted((one, other) => one - other)).toEqual([204, 409])
  })

  it('is of no use after its time, nor when its person is gone', async () => {
    const token = await linkOf('invitation', 'Cleo')
    at(Date.now() + 73 * hour)
    expect((await served.visitor().ask('POST', '/link', { token })).refusal()).toEqual([
      400,
      'account_link_expired',
    ])
  })

  it('can’t be guessed for long', async () => {
    const statuses = []
    for (let index = 0; index < 12; index += 1)
      statuses.push((await served.visitor().ask('POST', '/link', { token: `guess-${index}` })).status)
    expect(statuses.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 404))
    expect(statuses.at(-1)).toBe(429)
  })

  it('of one who has an account sets a new password, and ends all sessions', async () => {
    await served.join('Bob', password)
    const bob = await served.signIn('Bob', password)
    const [token, other] = [await linkOf('invitation', 'Bob'), await linkOf('reset', 'Bob')]
    await served.visitor().ask('POST', '/link/use', { token, password: 'four other words by now' })
    expect((await bob.ask('GET', '/me')).status).toBe(401)
    // A link that waited could set yet another one.
    expect((await bob.ask('POST', '/link', { token: other })).refusal()).toEqual([
      404,
      'account_link_missing',
    ])
  })
})

describe('who asks for mail', () => {
  const wishes = [
    ['sign-up', 'known', 'sign-up'],
    ['reset', 'reset', undefined],
  ] as const

  it.each(wishes)(
    'of %s is told the same, as late, for an address that is known and one that is not',
    async (path, known, unknown) => {
      await served.join('Bob', password, 'bob@example.org')
      const took: number[] = []
      const said: unknown[][] = []
      for (const mail of ['bob@example.org', 'nobody@example.org']) {
        const before = performance.now()
        const answer = await served.visitor().ask('POST', `/${path}`, { mail })
        took.push(performance.now() - before)
        const { date: _, ...headers } = answer.headers
        said.push([answer.status, answer.text, headers])
      }
      expect(said[0]).toEqual(said[1])
      expect(said[0]?.slice(0, 2)).toEqual([202, ''])
      // The same floor holds both: what there was to do is done below it.
      expect(Math.min(...took)).toBeGreaterThanOrEqual(245)
      const mails = await listMails(served.database)
      expect(mails.map(({ recipient, kind }) => `${recipient} ${kind}`).toSorted()).toEqual([
        `bob@example.org ${known}`,
        ...(unknown ? [`nobody@example.org ${unknown}`] : []),
      ])
      // A queue on disk holds no link.
      expect(
        await served.database.selectFrom('account_links').selectAll().where('used_at', 'is', null).execute(),
      ).toEqual([])
    },
  )

  it('fills nobody’s letter box', async () => {
    for (let index = 0; index < 5; index += 1) {
      const answer = await served
        .visitor(`127.200.4.${index + 1}`)
        .ask('POST', '/sign-up', { mail: 'eve@example.org' })
      expect(answer.status).toBe(202)
    }
    expect(await listMails(served.database)).toHaveLength(3)
  })

  it('may be of the domains that the admin lets in, and no other', async () => {
    const refused = await served.visitor().ask('POST', '/sign-up', { mail: 'eve@example.com' })
    expect(refused.refusal()).toEqual([403, 'sign_up_domain'])
    expect((await served.visitor().ask('POST', '/sign-up', { mail: 'no address' })).refusal()).toEqual([
      400,
      'mail_address',
    ])
  })
})

describe('a sign-up', () => {
  it('makes a person of the name that is chosen, once', async () => {
    const token = await linkOf('sign-up', undefined, 'eve@example.org')
    const eve = served.visitor()
    const taken = await eve.ask('POST', '/link/use', { token, name: 'Bob', password })
    expect(taken.refusal()).toEqual([409, 'person_exists'])
    expect((await eve.ask('POST', '/link/use', { token, name: 'Eve', password })).status).toBe(204)
    expect((await eve.ask('GET', '/me')).json()).toMatchObject({ person: 'Eve', mail: 'eve@example.org' })
    const second = await linkOf('sign-up', undefined, 'eve@example.org')
    const again = await eve.ask('POST', '/link/use', { token: second, name: 'Eve 2', password })
    expect(again.refusal()).toEqual([409, 'mail_exists'])
    expect((await listPeople(served.database)).map(({ name }) => name)).toEqual(['Ada', 'Bob', 'Eve'])
  })

  it('is off unless the admin says so, for links that wait, too', async () => {
    const token = await linkOf('sign-up', undefined, 'eve@example.org')
    await served.close()
    served = await serveAccounts()
    const waiting = await makeAccountLink(served.database, { kind: 'sign-up', mail: 'eve@example.org' })
    const eve = served.visitor()
    for (const one of [token, waiting.token])
      expect((await eve.ask('POST', '/link/use', { token: one, name: 'Eve', password })).status).not.toBe(204)
    expect((await eve.ask('POST', '/sign-up', { mail: 'eve@example.org' })).refusal()).toEqual([
      403,
      'sign_up_off',
    ])
    expect(await listMails(served.database)).toEqual([])
  })
})

it('an address changes when its link is followed, and who follows it is not signed in by that', async () => {
  await served.join('Bob', password, 'bob@example.org')
  const bob = await served.signIn('Bob', password)
  expect((await bob.ask('PUT', '/mail', { mail: 'robert@example.org' })).status).toBe(202)
  expect((await bob.ask('GET', '/me')).json()).toMatchObject({ mail: 'bob@example.org' })
  expect(await listMails(served.database)).toMatchObject([{ kind: 'mail', recipient: 'robert@example.org' }])
  const token = await linkOf('mail', 'Bob', 'robert@example.org')
  const letterbox = served.visitor()
  expect((await letterbox.ask('POST', '/link/use', { token })).status).toBe(204)
  expect((await letterbox.ask('GET', '/me')).status).toBe(401)
  expect((await bob.ask('GET', '/me')).json()).toMatchObject({ mail: 'robert@example.org' })
})
