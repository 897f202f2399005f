/** A route for who is signed in, about what is theirs and nothing else. */
import { proveSession, type Session } from '@sotto/provisioning/registry/session.ts'
import type { z } from 'zod'
import { callerOf, requireSession } from '#identity/account.ts'
import { Failure } from '../../failure.ts'
import { nothing, readBody, refuse, requireOwnPage } from '../admin/change.ts'
import { noStore } from '../admin/reading.ts'
import { ownDialect } from '../envelope.ts'
import type { Call, Route } from '../route.ts'
import { sessionOf } from './cookies.ts'
import type { AccountDeps } from './deps.ts'

export const accountPath = '/sotto/account'
/** A passkey’s answer is the largest of what is sent; strangers send it, too. */
export const maxBodyBytes = 64 * 1024
/** Long enough to do several things one after the other. */
export const provenMs = 15 * 60_000

export interface OwnCall extends Call {
  readonly session: Session
}

export interface OwnChange<Body> {
  readonly method: 'POST' | 'PUT' | 'DELETE'
  /** Below `/sotto/account`. */
  readonly path: string
  readonly summary: string
  readonly body: z.ZodType<Body>
  /** Whether it could take the account over: then its person showed a moment ago who they are. */
  readonly proof?: boolean
  /** What is answered; undefined for nothing. */
  apply(body: Body, call: OwnCall): Promise<object | undefined>
  readonly status?: 201 | 202
}

const place = { group: 'member', dialect: ownDialect } as const

export function ownReading(
  deps: AccountDeps,
  path: string,
  summary: string,
  read: (call: OwnCall) => Promise<object>,
): Route {
  return {
    ...place,
    method: 'GET',
    path: accountPath + path,
    summary,
    quiet: true,
    handle: async (call) => call.c.json(await read(await signedIn(deps, call)), 200, noStore),
  }
}

export function ownChanging<Body>(deps: AccountDeps, change: OwnChange<Body>): Route {
  const { method, path, summary, body, proof = false, apply, status } = change
  return {
    ...place,
    method,
    path: accountPath + path,
    summary,
    ...(Object.is(body, nothing) ? {} : { body }),
    async handle(call) {
      requireOwnPage(call)
      const own = await signedIn(deps, call)
      if (proof && provenUntil(own.session) === null) throw proofRequired()
      const sent = await readBody(call, body, maxBodyBytes)
      const answer = await apply(sent, own).catch(refuse)
      await deps.follow()
      return answer === undefined
        ? call.c.body(null, status === 202 ? 202 : 204, noStore)
        : call.c.json(answer, status ?? 200, noStore)
    },
  }
}

/** The call of who is signed in. Throws a `Failure`. */
export async function signedIn({ database }: Pick<AccountDeps, 'database'>, call: Call): Promise<OwnCall> {
  const session = await requireSession(database, sessionOf(call))
  call.record.caller = callerOf(session, call.caller)
  return { ...call, session }
}

/** Until when its person need not show again who they are; null for at once. */
export function provenUntil({ provedAt }: Session, now = Date.now()): Date | null {
  const proved = Date.parse(provedAt)
  // One of the future is of a clock that was set back meanwhile.
  return proved + provenMs > now && proved <= now + provenMs ? new Date(proved + provenMs) : null
}

export async function prove({ database }: Pick<AccountDeps, 'database'>, { id }: Session): Promise<void> {
  await proveSession(database, id)
}

function proofRequired(): Failure {
  return new Failure('forbidden', 'Show once more who you are.', undefined, {
    detail: 'proof_required',
    remedy: 'Your password or a passkey does.',
  })
}
