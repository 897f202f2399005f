/**
 * API keys as they come in: found by their prefix, proved once by Argon2id, then remembered under an HMAC whose
 * key is this process's own, so that no request pays for the slow hash twice and memory holds no secret.
 */
import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import type { Access } from '@sotto/provisioning/registry/access.ts'
import { isUsable, type Key, type KeySecret } from '@sotto/provisioning/registry/key.ts'
import { isOurs, readPrefix, verifySecret } from '@sotto/provisioning/registry/secret.ts'
import ipaddr from 'ipaddr.js'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { waitMs } from '#admission/wait.ts'
import { Failure } from '../failure.ts'
import { heldBy, type Member } from './caller.ts'
import { normal, tenantOf } from './directory.ts'

export interface Keyring {
  /**
   * The caller that a key makes of a member; the member itself where the text is none of our keys, since
   * clients that must send something send anything. Throws a `Failure`: `unauthorized`, `forbidden`,
   * `rate_limited`.
   */
  identify(member: Member, text: string, remoteAddress: string): Member | Promise<Member>
  /** Takes up which keys there are now. */
  update(access: Access): void
  /** Whether a caller is still who it was, for what is open. */
  isCurrent(member: Member): boolean
}

interface Entry {
  readonly key: Key
  readonly secret: KeySecret
  /** What it makes of each member. */
  readonly callers: Map<Member, Member>
}

/** Guesses from one address at a secret whose prefix is right; each costs 13 ms of a core. */
const guessesPerMinute = 20
const guessesSeconds = 60
/** Wrong secrets that are known to be wrong, so that repeating one costs nothing. */
const rememberedWrong = 1_000

export function createKeyring(): Keyring {
  // A key object: from bytes, each HMAC would make one anew, at six times the cost.
  const pepper = createSecretKey(randomBytes(32))
  const guesses = new RateLimiterMemory({ points: guessesPerMinute, duration: guessesSeconds })
  let access: Access | undefined
  let entries = new Map<string, Entry>()
  /** By HMAC of the secret: its prefix. */
  const verified = new Map<string, string>()
  const wrong = new Set<string>()
  const proving = new Map<string, Promise<boolean>>()
  let turn: Promise<unknown> = Promise.resolve()

  const current = (prefix: string | undefined): Entry | undefined => {
    const entry = prefix === undefined ? undefined : entries.get(prefix)
    const expiresAt = entry?.secret.expiresAt ?? null
    if (!entry || !isUsable(entry.key) || (expiresAt !== null && Date.parse(expiresAt) <= Date.now()))
      return undefined
    return entry
  }
  const caller = (entry: Entry, member: Member, address: string): Member => {
    const known = entry.callers.get(member)
    if (known && entry.key.ranges === null) return known
    const made = narrow(entry.key, member, address, access)
    entry.callers.set(member, made)
    return made
  }
  /** Once for as many requests as bring the same text meanwhile: a program’s first ones come together. */
  const prove = (digest: string, text: string, { secret }: Entry, address: string): Promise<boolean> => {
    const begun = proving.get(digest)
    if (begun) return begun
    const proof = (async () => {
      await guesses.consume(address).catch((state: unknown) => {
        throw state instanceof RateLimiterRes ? tooManyGuesses(waitMs(state, guessesSeconds)) : state
      })
      // One at a time: a flood of guesses takes one thread of the pool, and never the event loop.
      const proven = turn.then(() => verifySecret(secret.hash, text))
      turn = proven.catch(() => {})
      const right = await proven
      if (right) await guesses.reward(address)
      return right
    })().finally(() => proving.delete(digest))
    proving.set(digest, proof)
    return proof
  }
  const check = async (digest: string, text: string, member: Member, address: string): Promise<Member> => {
    const entry = current(readPrefix(text))
    if (!entry || wrong.has(digest)) throw unknownKey()
    if (!(await prove(digest, text, entry, address))) {
      if (wrong.size >= rememberedWrong) wrong.clear()
      wrong.add(digest)
      throw unknownKey()
    }
    verified.set(digest, entry.secret.prefix)
    return caller(entry, member, address)
  }
  return {
    identify(member, text, remoteAddress) {
      if (!isOurs(text)) return member
      const digest = createHmac('sha256', pepper).update(text).digest('base64')
      const entry = current(verified.get(digest))
      if (entry) return caller(entry, member, remoteAddress)
      return check(digest, text, member, normal(remoteAddress))
    },
    update(next) {
      access = next
      entries = new Map(
        next.keys.flatMap((key) =>
          key.secrets.map((secret) => [secret.prefix, { key, secret, callers: new Map<Member, Member>() }]),
        ),
      )
      for (const [digest, prefix] of verified) if (!entries.has(prefix)) verified.delete(digest)
    },
    isCurrent: ({ key, tenant }) =>
      (key === undefined ||
        [...entries.values()].some((one) => one.key.id === key.id && current(one.secret.prefix))) &&
      ![access?.host, ...(access?.tenants.values() ?? [])].some(
        (one) => one?.id === tenant.id && one.disabledAt !== null,
      ),
  }
}

function narrow(key: Key, member: Member, address: string, access: Access | undefined): Member {
  if (key.deviceId !== null && key.deviceId !== member.deviceId)
    throw new Failure('forbidden', 'This key is bound to another device.')
  if (key.ranges !== null && !key.ranges.some((range) => isWithin(address, range)))
    throw new Failure('forbidden', 'This key may not be used from this address.')
  const tenant = access?.tenants.get(key.personId) ?? member.tenant
  return {
    kind: member.kind,
    name: member.name,
    ...(member.deviceId !== undefined && { deviceId: member.deviceId }),
    personId: key.personId,
    person: key.person,
    tenant,
    key: { id: key.id, name: key.name, promptLogMs: key.promptLogMs },
    admin: false,
    held: heldBy(
      access?.allowances ?? new Map(),
      { subject: `key:${key.id}`, label: `key “${key.name}”` },
      tenantOf(tenant),
    ),
  }
}

function isWithin(address: string, range: string): boolean {
  const at = ipaddr.process(address)
  const [network, bits] = ipaddr.parseCIDR(range)
  return at.kind() === network.kind() && at.match(network, bits)
}

function unknownKey(): Failure {
  return new Failure(
    'unauthorized',
    'This API key is none of this gateway’s, or no longer. Ask its admin for one.',
  )
}

function tooManyGuesses(ms: number): Failure {
  return new Failure('rate_limited', 'Too many wrong keys from this address.', undefined, {
    retryAfter: Math.ceil(ms / 1000),
  })
}
