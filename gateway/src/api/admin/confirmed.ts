/**
 * Whether the admin's browser may change things: an address alone is not enough for it. A page on the gateway's
 * own machine has that, and so has whoever holds an unlocked phone.
 */
import type { Database } from '@sotto/provisioning/database.ts'
import { confirmedUntil, longestMs, useConfirmation } from '@sotto/provisioning/registry/confirmation.ts'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import type { Member } from '#identity/caller.ts'
import { Failure } from '../../failure.ts'
import type { Call } from '../route.ts'

const cookie = 'sotto-admin'
/** `__Host-`: of this very host, over TLS, from no subdomain. */
const options = { prefix: 'host', path: '/', secure: true, httpOnly: true, sameSite: 'Strict' } as const

/** Until when a caller's browser may change things; undefined where it may not. */
export async function confirmationOf(
  database: Database,
  call: Pick<Call, 'c' | 'caller'>,
): Promise<Date | undefined> {
  const token = tokenOf(call)
  return token === undefined || !call.caller.admin
    ? undefined
    : confirmedUntil(database, token, holderOf(call.caller))
}

/** Throws a `Failure` where the caller's browser may not change things; where it may, that puts the end off. */
export async function requireConfirmation(database: Database, call: Call): Promise<void> {
  const token = tokenOf(call)
  if (token === undefined || !(await confirmationOf(database, call)))
    throw new Failure('forbidden', 'Changing this wants a confirmation on this device.', undefined, {
      detail: 'confirmation_required',
      remedy: 'Run on the gateway’s machine: ./sotto admin code',
    })
  await useConfirmation(database, token)
}

export function tokenOf({ c }: Pick<Call, 'c'>): string | undefined {
  return getCookie(c, cookie, 'host')
}

/** A confirmation is of use to no other device. */
export function holderOf({ deviceId }: Member): string {
  return deviceId === undefined ? 'host' : `device:${deviceId}`
}

export function giveToken({ c }: Call, token: string): void {
  // When it ends is decided here; the browser need not keep it longer than that.
  setCookie(c, cookie, token, { ...options, maxAge: longestMs / 1000 })
}

export function takeToken({ c }: Call): void {
  deleteCookie(c, cookie, options)
}
