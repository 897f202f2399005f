/**
 * Who is asking by a session of an account, besides by an address: for the account's own page alone. Models are
 * asked by a device or a key, so that no cookie of a browser ever speaks to them.
 */
import type { Database } from '@sotto/provisioning/database.ts'
import { readSession, type Session } from '@sotto/provisioning/registry/session.ts'
import { Failure } from '../failure.ts'
import type { Member } from './caller.ts'

/** Throws a `Failure`, `signed_out` or `forbidden`. */
export async function requireSession(database: Database, token: string | undefined): Promise<Session> {
  const session = token === undefined ? undefined : await readSession(database, token)
  if (!session)
    throw new Failure('unauthorized', 'You are not signed in here, or not any more.', undefined, {
      detail: 'signed_out',
      remedy: 'Sign in again.',
    })
  if (session.tenant.disabledAt !== null)
    throw new Failure('forbidden', 'The admin has disabled your tenant.')
  return session
}

/** For the audit: the person who is signed in, where they are. */
export function callerOf({ personId, person, tenant }: Session, { kind, name, deviceId }: Member): Member {
  return {
    kind,
    name,
    ...(deviceId !== undefined && { deviceId }),
    personId,
    person,
    tenant,
    admin: false,
    held: [],
  }
}
