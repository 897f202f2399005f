/**
 * What an admin's browser shows besides its address before it changes anything: that somebody at the gateway's
 * machine gave it a code, or that one knows the password. It holds for that device alone, and for a time. Of
 * code, password and token only hashes are kept.
 */
import { randomInt } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { latest } from './ahead.ts'
import { checkPassword, hashSecret, hashToken, makeToken, verifySecret } from './secret.ts'

/** At most one row: a new code ends the one before. */
export interface AdminCodeTable {
  hash: string
  expires_at: string
}

/** At most one row. */
export interface AdminPasswordTable {
  hash: string
}

export interface ConfirmationTable {
  token_hash: string
  /** `device:ID`, or `host` */
  holder: string
  created_at: string
  used_at: string
}

export interface Confirmation {
  /** 256 random bits, base64url: for the browser alone. */
  readonly token: string
  readonly until: Date
}

/** Long enough to walk from the gateway's machine to the sofa. */
export const codeLifeMs = 10 * 60_000
/** A day's work; a phone that lies about unlocked the next day changes nothing. */
const idleMs = 12 * 3_600_000
/** However busy one is. */
export const longestMs = 30 * 86_400_000

/** Makes a code that is good once, for ten minutes: `1234 5678`. The one before is good no more. */
export async function makeAdminCode(database: Database, now: Date = new Date()): Promise<string> {
  const digits = String(randomInt(10 ** 8)).padStart(8, '0')
  const hash = await hashSecret(digits)
  const expires_at = new Date(now.getTime() + codeLifeMs).toISOString()
  await database.transaction().execute(async (transaction) => {
    await transaction.deleteFrom('admin_codes').execute()
    await transaction.insertInto('admin_codes').values({ hash, expires_at }).execute()
  })
  return `${digits.slice(0, 4)} ${digits.slice(4)}`
}

/** Takes a code. Throws a `Problem`, `confirmation_wrong`, for one that is not, or no more. */
export async function confirmByCode(
  database: Database,
  code: string,
  holder: string,
  now: Date = new Date(),
): Promise<Confirmation> {
  const digits = code.replaceAll(/[^0-9]/g, '')
  const row = await database
    .selectFrom('admin_codes')
    .select('hash')
    .where('expires_at', '>', now.toISOString())
    .where('expires_at', '<=', latest(new Date(now.getTime() + codeLifeMs)))
    .executeTakeFirst()
  const right = row !== undefined && (await verifySecret(row.hash, digits))
  // Of two who bring it at once, one finds it.
  const taken =
    right &&
    (await database.deleteFrom('admin_codes').where('hash', '=', row.hash).returning('hash').execute())
  if (taken && taken.length > 0) return makeConfirmation(database, holder, now)
  throw new Problem(
    'confirmation_wrong',
    'This code is not the one, or it was used, or its ten minutes are over.',
    'Make a new one on the gateway’s machine: ./sotto admin code',
  )
}

/** Throws a `Problem`, `confirmation_wrong`. */
export async function confirmByPassword(
  database: Database,
  password: string,
  holder: string,
  now: Date = new Date(),
): Promise<Confirmation> {
  const row = await database.selectFrom('admin_password').select('hash').executeTakeFirst()
  if (row && (await verifySecret(row.hash, password))) return makeConfirmation(database, holder, now)
  throw new Problem(
    'confirmation_wrong',
    row ? 'This is not the password.' : 'No password is set.',
    'A code of the gateway’s machine always does: ./sotto admin code',
  )
}

/** Until when a token is good for its holder; undefined where it is not. */
export async function confirmedUntil(
  database: Database,
  token: string,
  holder: string,
  now: Date = new Date(),
): Promise<Date | undefined> {
  const row = await database
    .selectFrom('confirmations')
    .select(['created_at', 'used_at'])
    .where('token_hash', '=', hashToken(token))
    .where('holder', '=', holder)
    .where('used_at', '<=', latest(now))
    .where('created_at', '<=', latest(now))
    .executeTakeFirst()
  const until = row && endOf(row)
  return until && until > now ? until : undefined
}

/** Says that a token was used, which puts its end off. */
export async function useConfirmation(
  database: Database,
  token: string,
  now: Date = new Date(),
): Promise<void> {
  await database
    .updateTable('confirmations')
    .set({ used_at: now.toISOString() })
    .where('token_hash', '=', hashToken(token))
    .execute()
}

export async function endConfirmation(database: Database, token: string): Promise<void> {
  await database.deleteFrom('confirmations').where('token_hash', '=', hashToken(token)).execute()
}

/**
 * Ends all confirmations, and the code that waits.
 *
 * @param but the token of the one that stays
 */
export async function forgetConfirmations(database: Database, but = ''): Promise<void> {
  await database.deleteFrom('admin_codes').execute()
  await database.deleteFrom('confirmations').where('token_hash', '!=', hashToken(but)).execute()
}

/**
 * Sets the password, or takes it away; confirmations of before end.
 *
 * @param but the token of the one that stays
 */
export async function setAdminPassword(
  database: Database,
  password: string | null,
  but?: string,
): Promise<void> {
  if (password !== null) checkPassword(password)
  const hashed = password === null ? undefined : await hashSecret(password)
  await database.transaction().execute(async (transaction) => {
    await transaction.deleteFrom('admin_password').execute()
    if (hashed !== undefined)
      await transaction.insertInto('admin_password').values({ hash: hashed }).execute()
    await forgetConfirmations(transaction, but)
  })
}

export async function hasAdminPassword(database: Database): Promise<boolean> {
  return (await database.selectFrom('admin_password').select('hash').executeTakeFirst()) !== undefined
}

async function makeConfirmation(database: Database, holder: string, now: Date): Promise<Confirmation> {
  const token = makeToken()
  const at = now.toISOString()
  const row = { token_hash: hashToken(token), holder, created_at: at, used_at: at }
  await database
    .deleteFrom('confirmations')
    .where('used_at', '<', new Date(now.getTime() - idleMs).toISOString())
    .execute()
  await database.insertInto('confirmations').values(row).execute()
  return { token, until: endOf(row) }
}

function endOf({ created_at, used_at }: Pick<ConfirmationTable, 'created_at' | 'used_at'>): Date {
  return new Date(Math.min(Date.parse(used_at) + idleMs, Date.parse(created_at) + longestMs))
}

/** @internal a migration; see `database.ts` */
export async function createConfirmations(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('admin_codes')
    .addColumn('hash', 'text', (column) => column.primaryKey())
    .addColumn('expires_at', 'text', (column) => column.notNull())
    .execute()
  await database.schema
    .createTable('admin_password')
    .addColumn('hash', 'text', (column) => column.primaryKey())
    .execute()
  await database.schema
    .createTable('confirmations')
    .addColumn('token_hash', 'text', (column) => column.primaryKey())
    .addColumn('holder', 'text', (column) => column.notNull())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('used_at', 'text', (column) => column.notNull())
    .execute()
}
