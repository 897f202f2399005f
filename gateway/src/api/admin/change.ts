/**
 * A route by which the admin changes something: from our own page, confirmed on that device, and in force when
 * it answers. What the control plane refuses is told as it says it.
 */
import type { Database } from '@sotto/provisioning/database.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import { z } from 'zod'
import { databaseAway, Failure, type FailureCode } from '../../failure.ts'
import { readJson } from '../body.ts'
import { ownDialect } from '../envelope.ts'
import type { Call, Route } from '../route.ts'
import { requireConfirmation } from './confirmed.ts'
import { noStore } from './reading.ts'

export interface ChangeDeps {
  readonly database: Database
  /** Brings the live interface in step with the registry now, rather than at the next look. */
  follow(): Promise<unknown>
}

export interface Change<Body> {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly summary: string
  /** What is sent: `nothing`, or an object. */
  readonly body: z.ZodType<Body>
  /** What is answered; undefined for nothing. */
  apply(body: Body, call: Call): Promise<object | undefined>
  /** 201 for what makes something. */
  readonly status?: 201
}

/** For a change that its path tells whole. */
export const nothing = z.strictObject({}).optional()

export function changing<Body>(deps: ChangeDeps, change: Change<Body>): Route {
  const { method, path, summary, body, apply, status = 200 } = change
  return {
    group: 'admin',
    dialect: ownDialect,
    method,
    path,
    summary,
    ...(Object.is(body, nothing) ? {} : { body }),
    async handle(call) {
      requireOwnPage(call)
      await requireConfirmation(deps.database, call)
      const sent = await readBody(call, body)
      const answer = await apply(sent, call).catch(refuse)
      await deps.follow()
      return answer === undefined ? call.c.body(null, 204, noStore) : call.c.json(answer, status, noStore)
    },
  }
}

/**
 * A page elsewhere can make a browser send what it can't read the answer of. Browsers say where a request comes
 * from in headers that no page can set; one that says neither is no browser. Throws a `Failure`.
 */
export function requireOwnPage({ incoming }: Pick<Call, 'incoming'>): void {
  const { host, origin, 'sec-fetch-site': site } = incoming.headers
  // That the Host is ours was looked at already, as for every request; one of `origins` is not enough here.
  const own = origin === `https://${host}`
  if (site === undefined ? own : site === 'same-origin' && (origin === undefined || own)) return
  throw new Failure('forbidden', 'Only the gateway’s own page may change things.', undefined, {
    detail: 'cross_origin',
    remedy: 'Open the gateway at its own address.',
  })
}

/** A body that is as it should be. Throws a `Failure` that names the field. */
export async function readBody<Body>(
  { incoming }: Pick<Call, 'incoming'>,
  schema: z.ZodType<Body>,
  atMost?: number,
): Promise<Body> {
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': encoding } = incoming.headers
  const sent = encoding !== undefined || Number(length ?? 0) > 0
  // A form of a page elsewhere may be sent without asking; JSON may not.
  if (sent && !/^application\/json(?:;|$)/i.test(type ?? ''))
    throw new Failure('invalid', 'Send JSON, with “content-type: application/json”.')
  const read = schema.safeParse(sent ? await readJson(incoming, atMost) : undefined)
  if (read.success) return read.data
  const [issue] = read.error.issues
  const field = [
    ...(issue?.path ?? []),
    ...(issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : []),
  ]
  const message = issue?.code === 'unrecognized_keys' ? 'is not known here' : issue?.message
  throw new Failure('invalid', `${field.join('.') || 'The body'}: ${message}.`)
}

/** A refusal that says who is who: of what stands in the way of the admin’s own hand. */
export function conflict(detail: string, message: string, remedy: string): Failure {
  return new Failure('conflict', message, undefined, { detail, remedy })
}

/** What the control plane refuses, as a refusal of ours; anything else as it is. */
export function refuse(error: unknown): never {
  throw error instanceof Problem ? refusalOf(error) : error
}

function refusalOf(problem: Problem): Failure {
  const { code, message, remedy } = problem
  // Where the database is, is for the log.
  if (code === 'database_away') return databaseAway(problem)
  return new Failure(kindOf(code), message, undefined, { detail: code, remedy })
}

/** By how the registry names its problems. */
function kindOf(code: string): FailureCode {
  if (code.endsWith('_missing')) return 'not_found'
  if (/_(?:exists|in_use|used|exhausted)$/.test(code)) return 'conflict'
  if (code === 'no_endpoint' || code === 'never_served') return 'unavailable'
  return code === 'confirmation_wrong' ? 'forbidden' : 'invalid'
}
