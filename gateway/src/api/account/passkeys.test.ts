/** Passkeys, by an authenticator of software: which answers are taken, and which are not. */
import { makeAccountLink } from '@sotto/provisioning/registry/account-link.ts'
import { ensurePerson } from '@sotto/provisioning/registry/person.ts'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createAuthenticator, type Authenticator } from '#accounts/authenticator.fixture.ts'
import { serveAccounts, type ServedAccounts, type Visitor } from './account.fixture.ts'

let served: ServedAccounts
let finger: Authenticator
let cleo: Visitor
let page: { origin: string; rpId: string }

interface Question {
  readonly id: string
  readonly options: { readonly challenge: string }
}

async function linkFor(person: string): Promise<string> {
  const { id: personId } = await ensurePerson(served.database, person)
  return (await makeAccountLink(served.database, { kind: 'invitation', personId })).token
}

beforeEach(async () => {
  served = await serveAccounts()
  page = { origin: served.origin, rpId: 'gateway.test' }
  finger = createAuthenticator()
  cleo = served.visitor()
  const token = await linkFor('Cleo')
  const { id, options } = (await cleo.ask('POST', '/link/passkey-options', { token })).json() as Question
  const passkey = { id, response: finger.register(options.challenge, page), name: 'a finger' }
  expect((await cleo.ask('POST', '/link/use', { token, passkey })).status).toBe(204)
})
afterEach(async () => {
  vi.restoreAllMocks()
  vi.useRealTimers()
  await served.close()
})

const ask = async (visitor: Visitor) => (await visitor.ask('POST', '/passkey-options')).json() as Question
const signIn = async (visitor: Visitor, { id, options }: Question, by = finger, at = page) =>
  visitor.ask('POST', '/session', { passkey: { id, response: by.assert(options.challenge, at) } })

it('sign in without a name, and prove again who one is', async () => {
  expect((await cleo.ask('GET', '/me')).json()).toMatchObject({
    person: 'Cleo',
    hasPassword: false,
    passkeys: [{ name: 'a finger', host: 'gateway.test' }],
  })
  const other = served.visitor()
  expect((await signIn(other, await ask(other))).status).toBe(204)
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 16 * 60_000 })
  const next = { password: 'four words are enough' }
  expect((await other.ask('PUT', '/password', next)).refusal()).toEqual([403, 'proof_required'])
  const { id, options } = await ask(other)
  const proof = { passkey: { id, response: finger.assert(options.challenge, page) } }
  expect((await other.ask('POST', '/proof', proof)).status).toBe(204)
  expect((await other.ask('PUT', '/password', next)).status).toBe(204)
})

it.each([
  ['of a page elsewhere', () => ({ ...page, origin: 'https://gateway.test.evil.example' })],
  ['for another host', () => ({ ...page, rpId: 'evil.example' })],
] as const)('are refused %s', async (_, at) => {
  const other = served.visitor()
  expect((await signIn(other, await ask(other), finger, at())).refusal()).toEqual([403, 'passkey_wrong'])
  expect((await other.ask('GET', '/me')).status).toBe(401)
})

it('answer a question once, within its time, and no other', async () => {
  const other = served.visitor()
  const first = await ask(other)
  expect((await signIn(other, first)).status).toBe(204)
  expect((await signIn(served.visitor(), first)).refusal()).toEqual([403, 'passkey_wrong'])
  const [one, two] = [await ask(other), await ask(other)]
  expect((await signIn(other, { id: one.id, options: two.options })).refusal()).toEqual([
    403,
    'passkey_wrong',
  ])
  const late = await ask(other)
  const then = performance.now() + 5 * 60_000 + 1
  vi.spyOn(performance, 'now').mockReturnValue(then)
  expect((await signIn(other, late)).refusal()).toEqual([403, 'passkey_wrong'])
})

it('that are unknown, copied, or of a finger that nobody looked at sign nobody in', async () => {
  const other = served.visitor()
  expect((await signIn(other, await ask(other), createAuthenticator())).refusal()).toEqual([
    403,
    'passkey_wrong',
  ])
  expect((await signIn(other, await ask(other))).status).toBe(204)
  // A copy of it is behind.
  finger.counter = 0
  expect((await signIn(other, await ask(other))).refusal()).toEqual([403, 'passkey_wrong'])
  const token = await linkFor('Bob')
  const bob = served.visitor()
  const { id, options } = (await bob.ask('POST', '/link/passkey-options', { token })).json() as Question
  const blind = createAuthenticator({ verifies: false })
  const passkey = { id, response: blind.register(options.challenge, page), name: 'blind' }
  expect((await bob.ask('POST', '/link/use', { token, passkey })).refusal()).toEqual([403, 'passkey_wrong'])
})

it('made for one link are of no use with another', async () => {
  const [of, other] = [await linkFor('Bob'), await linkFor('Ada')]
  const bob = served.visitor()
  const { id, options } = (await bob.ask('POST', '/link/passkey-options', { token: of })).json() as Question
  const passkey = { id, response: createAuthenticator().register(options.challenge, page), name: 'x' }
  expect((await bob.ask('POST', '/link/use', { token: other, passkey })).refusal()).toEqual([
    403,
    'passkey_wrong',
  ])
})
