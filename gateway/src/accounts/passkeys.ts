/**
 * Passkeys by WebAuthn: what a browser is asked, and whether its answer is right. A question is good once, for
 * five minutes, and for what it was asked for. A passkey is of a host name, since browsers have none of an address.
 */
import { randomUUID } from 'node:crypto'
import { isIP } from 'node:net'
import type { NewPasskey, Passkey } from '@sotto/provisioning/registry/passkey.ts'
import { z } from 'zod'
import type { PasskeyQuestion } from '#protocol/account.ts'
import { Failure } from '../failure.ts'

const text = z.string().max(20_000)
const credential = { id: text, rawId: text, type: z.literal('public-key') }
const registration = z.object({
  ...credential,
  clientExtensionResults: z.object({}),
  response: z.object({
    clientDataJSON: text,
    attestationObject: text,
    transports: z.array(z.string().max(20)).max(10).optional(),
  }),
})
const assertion = z.object({
  ...credential,
  clientExtensionResults: z.object({}),
  response: z.object({
    clientDataJSON: text,
    authenticatorData: text,
    signature: text,
    userHandle: text.optional(),
  }),
})

export const registered = z.strictObject({
  id: z.uuid(),
  response: registration,
  name: z.string().min(1, 'is empty').max(63, 'is too long'),
})
export const asserted = z.strictObject({ id: z.uuid(), response: assertion })

/** Where a page is that has passkeys. */
export interface Party {
  /** The host name. */
  readonly rpId: string
  readonly origin: string
}

export interface Passkeys {
  /** @param purpose what the answer may be used for, and nothing else */
  askForNew(
    party: Party,
    purpose: string,
    user: { readonly id: string; readonly name: string; readonly has: readonly Passkey[] },
  ): Promise<PasskeyQuestion>
  /** Throws a `Failure`. */
  takeNew(party: Party, purpose: string, answer: z.infer<typeof registered>): Promise<NewPasskey>
  ask(party: Party, purpose: string): Promise<PasskeyQuestion>
  /** How often its authenticator was used, by its own count. Throws a `Failure`. */
  check(
    party: Party,
    purpose: string,
    answer: z.infer<typeof asserted>,
    passkey: Passkey | undefined,
  ): Promise<number>
}

interface Asked {
  readonly challenge: string
  readonly purpose: string
  readonly until: number
}

/** ES256, EdDSA and RS256: what authenticators of today have, and Node checks without a word of warning. */
const algorithms = [-7, -8, -257]
/** Only for who has one: most of its weight is certificates' syntax. */
const library = () => import('@simplewebauthn/server')
const lifeMs = 5 * 60_000
const maxAsked = 2_000

/** The party of a page at a host, `name:port`; undefined where that is an address. */
export function partyOf(host: string): Party | undefined {
  const { hostname } = new URL(`https://${host}`)
  return hostname.startsWith('[') || isIP(hostname) !== 0
    ? undefined
    : { rpId: hostname, origin: `https://${host}` }
}

export function createPasskeys(): Passkeys {
  const asked = new Map<string, Asked>()
  const keep = (challenge: string, purpose: string): string => {
    const now = performance.now()
    for (const [id, { until }] of asked) {
      if (until > now && asked.size < maxAsked) break
      asked.delete(id)
    }
    const id = randomUUID()
    asked.set(id, { challenge, purpose, until: now + lifeMs })
    return id
  }
  const take = (id: string, purpose: string): string => {
    const found = asked.get(id)
    asked.delete(id)
    if (!found || found.purpose !== purpose || found.until <= performance.now()) throw wrong()
    return found.challenge
  }
  return {
    async askForNew({ rpId }, purpose, { id, name, has }) {
      const { generateRegistrationOptions } = await library()
      const options = await generateRegistrationOptions({
        rpName: 'Sotto',
        rpID: rpId,
        userID: new TextEncoder().encode(id),
        userName: name,
        attestationType: 'none',
        supportedAlgorithmIDs: algorithms,
        excludeCredentials: has.filter((one) => one.rpId === rpId).map((one) => ({ id: one.id })),
        // It is all that one signs in by: it says who, and wants a finger or a PIN.
        authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
        timeout: lifeMs,
      })
      return { id: keep(options.challenge, purpose), options }
    },
    async takeNew({ rpId, origin }, purpose, { id, response, name }) {
      const expectedChallenge = take(id, purpose)
      const { verifyRegistrationResponse } = await library()
      const { verified, registrationInfo } = await verifyRegistrationResponse({
        response,
        expectedChallenge,
        expectedOrigin: origin,
        expectedRPID: rpId,
        supportedAlgorithmIDs: algorithms,
      }).catch(() => {
        throw wrong()
      })
      if (!verified) throw wrong()
      const { credential: made } = registrationInfo
      return {
        id: made.id,
        publicKey: Buffer.from(made.publicKey).toString('base64url'),
        counter: made.counter,
        transports: response.response.transports ?? [],
        rpId,
        name,
      }
    },
    async ask({ rpId }, purpose) {
      const { generateAuthenticationOptions } = await library()
      const options = await generateAuthenticationOptions({
        rpID: rpId,
        userVerification: 'required',
        timeout: lifeMs,
      })
      return { id: keep(options.challenge, purpose), options }
    },
    async check({ rpId, origin }, purpose, { id, response }, passkey) {
      const expectedChallenge = take(id, purpose)
      if (!passkey || passkey.rpId !== rpId) throw wrong()
      const { verifyAuthenticationResponse } = await library()
      const { verified, authenticationInfo } = await verifyAuthenticationResponse({
        response,
        expectedChallenge,
        expectedOrigin: origin,
        expectedRPID: rpId,
        credential: {
          id: passkey.id,
          publicKey: new Uint8Array(Buffer.from(passkey.publicKey, 'base64url')),
          counter: passkey.counter,
        },
      }).catch(() => {
        throw wrong()
      })
      if (!verified) throw wrong()
      return authenticationInfo.newCounter
    },
  }
}

/** What the library says of it would help whoever forges one. */
function wrong(): Failure {
  return new Failure('forbidden', 'This passkey is not known here.', undefined, {
    detail: 'passkey_wrong',
    remedy: 'Try again, or sign in another way.',
  })
}
