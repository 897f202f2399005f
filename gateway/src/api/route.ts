/**
 * A route and who may call it. Every request goes the same way: where it says it goes, who is asking, whether
 * its group may, the handler; and whatever its end is, a row in the ledger. A route of no group does not start.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isDiskProblem } from '@sotto/provisioning/disk.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import type { Context, Hono } from 'hono'
import type { Logger } from 'pino'
import type { z } from 'zod'
import type { AppEnv } from '#identity/app-env.ts'
import type { Member } from '#identity/caller.ts'
import { identify, type Identity } from '#identity/identify.ts'
import { openRecord, type OpenRecord, type Recorder } from '#ledger/record.ts'
import { checkOrigin, type OwnNames } from '#listener/origin.ts'
import { asFailure, Failure } from '../failure.ts'
import { errorHeaders, statusOf, type Dialect } from './envelope.ts'

/** Who may call: whoever holds a place on the overlay, a one-time link's too; devices and keys; the admin. */
export const groups = ['guest', 'member', 'admin'] as const
export type Group = (typeof groups)[number]

/** A request of someone who may be here, if only by a one-time link. */
export interface Visit {
  readonly c: Context<AppEnv>
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly record: OpenRecord
}

export interface Call extends Visit {
  readonly caller: Member
}

interface Place {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS' | 'ALL'
  /** As Hono reads it. */
  readonly path: string
  readonly dialect: Dialect
  /** For `/openapi.json`; left out, the route is not in it. */
  readonly summary?: string
  /** What the body is, for `/openapi.json`. */
  readonly body?: z.ZodType
  /** A good answer is not written down: pages and their parts. */
  readonly quiet?: boolean
}

interface GuestRoute extends Place {
  readonly group: 'guest'
  visit(visit: Visit): Response | Promise<Response>
}

interface MemberRoute extends Place {
  readonly group: 'member' | 'admin'
  handle(call: Call): Response | Promise<Response>
}

export type Route = GuestRoute | MemberRoute

export interface RouteDeps {
  readonly identity: Identity
  names(): OwnNames
  readonly recorder: Recorder
  readonly log: Pick<Logger, 'error'>
}

/** Throws a `Problem` for a route of no group. */
export function register(app: Hono<AppEnv>, routes: readonly Route[], deps: RouteDeps): void {
  for (const route of routes) {
    if (!groups.includes(route.group))
      throw new Problem('route_group', `Nobody said who may call ${route.method} ${route.path}.`)
    const handle = (c: Context<AppEnv>) => answer(c, route, deps)
    if (route.method === 'ALL') app.all(route.path, handle)
    else app.on(route.method, route.path, handle)
  }
}

async function answer(c: Context<AppEnv>, route: Route, deps: RouteDeps): Promise<Response> {
  const { incoming, outgoing } = c.env
  const { record, handled } = openRecord(deps.recorder, incoming, outgoing, route.quiet === true)
  try {
    const { host, origin } = incoming.headers
    const verdict = checkOrigin(deps.names(), host, origin)
    if (!verdict.allow) throw new Failure(verdict.code, verdict.message)
    record.caller = deps.identity.directory.identify(incoming.socket.remoteAddress)
    const found = identify(deps.identity, incoming.socket.remoteAddress, incoming.headers)
    const caller = found instanceof Promise ? await found : found
    record.caller = caller
    if (verdict.crossOrigin !== undefined) allowOrigin(outgoing, verdict.crossOrigin)
    if (route.group === 'guest') return await route.visit({ c, incoming, outgoing, record })
    if (caller.kind === 'guest')
      throw new Failure('forbidden', 'A one-time link lets a device enrol, and nothing else.')
    if (route.group === 'admin' && !caller.admin)
      throw new Failure('forbidden', 'This is for the admin’s devices and the gateway’s own machine.')
    return await route.handle({ c, incoming, outgoing, record, caller })
  } catch (error) {
    return refuse(asFailure(error), route, record, outgoing, deps)
  } finally {
    handled()
  }
}

/** An error in the route's dialect; where the answer has begun, its end. */
function refuse(
  failure: Failure,
  { dialect, path }: Route,
  record: OpenRecord,
  outgoing: ServerResponse,
  { log }: RouteDeps,
): Response {
  record.refusal = failure.detail
  if (failure.code === 'internal')
    log.error({ err: failure.cause ?? failure, path, request: record.id }, 'a request failed')
  // One line for each request would fill what is full already.
  else if (failure.cause !== undefined && !isDiskProblem(failure.cause))
    log.error({ err: failure.cause, code: failure.code, path, request: record.id }, 'an upstream failed')
  const status = statusOf(failure)
  return Response.json(dialect.error(failure, status, record.id), {
    status,
    headers: {
      ...errorHeaders(failure),
      'x-request-id': record.id,
      'cache-control': 'no-store',
      ...corsOf(outgoing),
    },
  })
}

/** For a page of an origin that the admin allows. */
function allowOrigin(outgoing: ServerResponse, origin: string): void {
  outgoing.setHeader('access-control-allow-origin', origin)
  outgoing.setHeader('vary', 'Origin')
}

/** Headers that were set on Node's response already are Hono's only when its own response names them. */
export function corsOf(outgoing: ServerResponse): Record<string, string> {
  const origin = outgoing.getHeader('access-control-allow-origin')
  return typeof origin === 'string' ? { 'access-control-allow-origin': origin, vary: 'Origin' } : {}
}
