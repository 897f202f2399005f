/** The two cookies of an account: its session, and that somebody signed in with this browser before. */
import { knownMs, longestSessionMs } from '@sotto/provisioning/registry/session.ts'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import type { Call } from '../route.ts'

type At = Pick<Call, 'c'>

const session = 'sotto-session'
const known = 'sotto-known'
/** `__Host-`: of this very host, over TLS, from no subdomain. */
const options = { prefix: 'host', path: '/', secure: true, httpOnly: true, sameSite: 'Strict' } as const

export function sessionOf({ c }: At): string | undefined {
  return getCookie(c, session, 'host')
}

export function giveSession({ c }: At, token: string): void {
  // When it ends is decided here; the browser need not keep it longer than that.
  setCookie(c, session, token, { ...options, maxAge: longestSessionMs / 1_000 })
}

export function takeSession({ c }: At): void {
  deleteCookie(c, session, options)
}

export function knownAs({ c }: At): string | undefined {
  return getCookie(c, known, 'host')
}

export function giveKnown({ c }: At, token: string): void {
  setCookie(c, known, token, { ...options, maxAge: knownMs / 1_000 })
}
