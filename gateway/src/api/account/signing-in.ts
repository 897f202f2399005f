/**
 * Signing in and out, and showing again who one is. A wrong name, a wrong password and an account without one look
 * the same and take the same time. Guesses are slowed down by where they come from and by the account they are at;
 * a browser in which its person signed in before is slowed down by its own guesses alone.
 */
import { createHash } from 'node:crypto'
import { findSignIn } from '@sotto/provisioning/registry/account.ts'
import { findPasskey, usePasskey } from '@sotto/provisioning/registry/passkey.ts'
import {
  endSession,
  isKnownBrowser,
  knowBrowser,
  openSession,
  readSession,
} from '@sotto/provisioning/registry/session.ts'
import { z } from 'zod'
import { asserted, partyOf, type Party } from '#accounts/passkeys.ts'
import { callerOf, requireSession } from '#identity/account.ts'
import { networkOf, normal } from '#identity/directory.ts'
import type { AccountHere } from '#protocol/account.ts'
import { Failure } from '../../failure.ts'
import { readBody, requireOwnPage } from '../admin/change.ts'
import { noStore } from '../admin/reading.ts'
import { ownDialect } from '../envelope.ts'
import type { Call, Route } from '../route.ts'
import { giveKnown, giveSession, knownAs, sessionOf, takeSession } from './cookies.ts'
import type { AccountDeps } from './deps.ts'
import { accountPath, maxBodyBytes, prove, signedIn } from './own.ts'

export const passwordText = z.string().min(1, 'is empty').max(1_000, 'is too long')
const signIn = z.union(
  [
    z.strictObject({ who: z.string().min(1, 'is empty').max(254), password: passwordText }),
    z.strictObject({ passkey: asserted }),
  ],
  { error: 'send {"who": …, "password": …} or {"passkey": …}' },
)
const proof = z.union([z.strictObject({ password: passwordText }), z.strictObject({ passkey: asserted })], {
  error: 'send {"password": …} or {"passkey": …}',
})

export function signingInRoutes(deps: AccountDeps): Route[] {
  const { accounts, database, guards } = deps
  const place = { group: 'member', dialect: ownDialect } as const
  return [
    {
      ...place,
      method: 'GET',
      path: accountPath,
      summary: 'Who is signed in here, and how one can',
      quiet: true,
      async handle(call) {
        const token = sessionOf(call)
        const session = token === undefined ? undefined : await readSession(database, token)
        const here: AccountHere = {
          person: session?.person ?? null,
          signUp: accounts.signUp,
          domains: accounts.domains ?? null,
          reset: accounts.mail,
          passkeys: partyOf(hostOf(call)) !== undefined,
        }
        return call.c.json(here, 200, noStore)
      },
    },
    {
      ...place,
      method: 'POST',
      path: `${accountPath}/session`,
      summary: 'Sign in, by a password or a passkey',
      body: signIn,
      async handle(call) {
        requireOwnPage(call)
        const sent = await readBody(call, signIn, maxBodyBytes)
        const personId =
          'who' in sent
            ? await byPassword(deps, call, sent.who, sent.password)
            : await byPasskey(deps, call, 'sign-in', sent.passkey)
        await begin(deps, call, personId)
        return call.c.body(null, 204, noStore)
      },
    },
    {
      ...place,
      method: 'DELETE',
      path: `${accountPath}/session`,
      summary: 'Sign out',
      async handle(call) {
        requireOwnPage(call)
        const { session } = await signedIn(deps, call)
        await endSession(database, session.personId, session.id)
        takeSession(call)
        return call.c.body(null, 204, noStore)
      },
    },
    {
      ...place,
      method: 'POST',
      path: `${accountPath}/passkey-options`,
      summary: 'What a browser asks its passkeys',
      async handle(call) {
        requireOwnPage(call)
        guards.places.take(`options ${placeOf(call)}`)
        return call.c.json(await guards.passkeys.ask(requireParty(call), 'sign-in'), 200, noStore)
      },
    },
    {
      ...place,
      method: 'POST',
      path: `${accountPath}/proof`,
      summary: 'Show again who one is',
      body: proof,
      async handle(call) {
        requireOwnPage(call)
        const own = await signedIn(deps, call)
        const sent = await readBody(call, proof, maxBodyBytes)
        const personId =
          'password' in sent
            ? await byPassword(deps, call, own.session.person, sent.password)
            : await byPasskey(deps, call, 'sign-in', sent.passkey)
        if (personId !== own.session.personId) throw wrong()
        await prove(deps, own.session)
        return call.c.body(null, 204, noStore)
      },
    },
  ]
}

/** Whose it is. Throws a `Failure`. */
async function byPassword(
  { database, guards }: AccountDeps,
  call: Call,
  who: string,
  password: string,
): Promise<string> {
  const found = await findSignIn(database, who)
  const known = knownAs(call)
  // Asked of nobody, too: it takes its time.
  const isKnown = known !== undefined && (await isKnownBrowser(database, found?.personId ?? '', known))
  const place = `password ${placeOf(call)}`
  const name = who.trim().normalize('NFC').toLowerCase()
  const browser = isKnown ? `browser ${createHash('sha256').update(known).digest('base64')}` : undefined
  // Before it is looked at, since many can come at once.
  if (browser !== undefined) guards.places.take(browser)
  else {
    guards.places.take(place)
    guards.names.take(name)
  }
  const right = await guards.passwords.isRight(found?.passwordHash, password)
  if (!right || !found) throw wrong()
  if (browser !== undefined) guards.places.forget(browser)
  else {
    guards.places.giveBack(place)
    guards.names.forget(name)
  }
  return found.personId
}

async function byPasskey(
  { database, guards }: AccountDeps,
  call: Call,
  purpose: string,
  answer: z.infer<typeof asserted>,
): Promise<string> {
  const place = `passkey ${placeOf(call)}`
  guards.places.take(place)
  const passkey = await findPasskey(database, answer.response.id)
  const counter = await guards.passkeys.check(requireParty(call), purpose, answer, passkey)
  if (!passkey) throw wrong()
  await usePasskey(database, passkey.id, counter)
  guards.places.giveBack(place)
  guards.places.giveBack(`options ${placeOf(call)}`)
  return passkey.personId
}

/** Opens a session in the caller's browser, in the place of the one before. */
export async function begin({ database }: AccountDeps, call: Call, personId: string): Promise<void> {
  const before = sessionOf(call)
  const old = before === undefined ? undefined : await readSession(database, before)
  if (old) await endSession(database, old.personId, old.id)
  const { incoming } = call
  const { token } = await openSession(database, {
    personId,
    address: normal(incoming.socket.remoteAddress ?? ''),
    agent: incoming.headers['user-agent'] ?? '',
  })
  giveSession(call, token)
  const known = knownAs(call)
  if (known === undefined || !(await isKnownBrowser(database, personId, known)))
    giveKnown(call, await knowBrowser(database, personId))
  // Who came in, for the audit.
  call.record.caller = callerOf(await requireSession(database, token), call.caller)
}

/** From where somebody comes, as far as one can be told from another: of IPv6 a network, outside of ours. */
export function placeOf({ caller, incoming }: Call): string {
  if (caller.deviceId !== undefined) return `device ${caller.deviceId}`
  if (caller.kind === 'host') return 'host'
  return networkOf(incoming.socket.remoteAddress)
}

/** `name:port`, which was looked at already. */
export function hostOf({ incoming }: Pick<Call, 'incoming'>): string {
  return incoming.headers.host ?? ''
}

/** Throws a `Failure` where the page is at an address. */
export function requireParty(call: Call): Party {
  const party = partyOf(hostOf(call))
  if (party) return party
  throw new Failure('invalid', 'Browsers have no passkeys for an address.', undefined, {
    detail: 'passkeys_need_name',
    remedy: 'Open the gateway by its name, or use a password.',
  })
}

function wrong(): Failure {
  return new Failure('forbidden', 'This name and this password do not go together.', undefined, {
    detail: 'sign_in_wrong',
    remedy: 'Look at both once more, or ask for a new password.',
  })
}
