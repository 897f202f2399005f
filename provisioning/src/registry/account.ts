/**
 * Accounts: how a person signs in who has no device of the overlay at hand, by a password or a passkey. A person
 * has one or none; what else is theirs belongs to the person.
 */
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { checkPassword, hashSecret } from './secret.ts'
import { endSessions } from './session.ts'

export interface AccountTable {
  person_id: string
  /** In lower case. */
  mail: string | null
  verified_at: string | null
  /** Argon2id; null for who signs in by passkeys alone. */
  password_hash: string | null
  created_at: string
}

export interface Account {
  readonly personId: string
  readonly mail: string | null
  /** ISO 8601: when its owner showed that mail gets there. */
  readonly verifiedAt: string | null
  readonly hasPassword: boolean
  readonly createdAt: string
}

const address = z.email().max(254)

/** An address as we keep it. Throws a `Problem`. */
export function checkMail(text: string): string {
  const read = address.safeParse(text.trim().normalize('NFC'))
  if (read.success) return read.data.toLowerCase()
  throw new Problem('mail_address', 'This is no mail address.', 'For example: ada@example.org')
}

export async function findAccount(database: Database, personId: string): Promise<Account | undefined> {
  const row = await database
    .selectFrom('accounts')
    .selectAll()
    .where('person_id', '=', personId)
    .executeTakeFirst()
  return (
    row && {
      personId: row.person_id,
      mail: row.mail,
      verifiedAt: row.verified_at,
      hasPassword: row.password_hash !== null,
      createdAt: row.created_at,
    }
  )
}

export interface SignIn {
  readonly personId: string
  /** Null where there is no password. */
  readonly passwordHash: string | null
}

/** @param who a mail address that was verified, or a person’s name */
export async function findSignIn(database: Database, who: string): Promise<SignIn | undefined> {
  const text = who.trim().normalize('NFC')
  const query = database
    .selectFrom('accounts')
    .innerJoin('people', 'people.id', 'accounts.person_id')
    .select(['person_id', 'password_hash'])
    .where('left_at', 'is', null)
  const row = await (
    text.includes('@')
      ? query.where('mail', '=', text.toLowerCase()).where('verified_at', 'is not', null)
      : query.where('people.name', '=', text)
  ).executeTakeFirst()
  return row && { personId: row.person_id, passwordHash: row.password_hash }
}

/** Whose a mail address is, verified by them; undefined for nobody. */
export async function findByMail(database: Database, mail: string): Promise<string | undefined> {
  const row = await database
    .selectFrom('accounts')
    .select('person_id')
    .where('mail', '=', mail)
    .executeTakeFirst()
  return row?.person_id
}

/** Makes the account of a person where there is none. Part of a larger transaction. */
export async function ensureAccount(database: Database, personId: string, now: Date): Promise<void> {
  await database
    .insertInto('accounts')
    .values({
      person_id: personId,
      mail: null,
      verified_at: null,
      password_hash: null,
      created_at: now.toISOString(),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

/** Writes an address that was shown to be theirs. Part of a larger transaction. Throws a `Problem`. */
export async function writeMail(
  database: Database,
  personId: string,
  mail: string,
  now: Date,
): Promise<void> {
  const owner = await findByMail(database, mail)
  if (owner !== undefined && owner !== personId)
    throw new Problem(
      'mail_exists',
      'This address belongs to another account here.',
      'Sign in with it, or ask for a new password.',
    )
  await database
    .updateTable('accounts')
    .set({ mail, verified_at: now.toISOString() })
    .where('person_id', '=', personId)
    .execute()
}

/**
 * Sets the password; other sessions end at once, and so do links that could set another.
 *
 * @param but id of the session that stays
 */
export async function setPassword(
  database: Database,
  personId: string,
  password: string,
  but?: string,
): Promise<void> {
  checkPassword(password)
  const hash = await hashSecret(password)
  await database.transaction().execute((transaction) => writePassword(transaction, personId, hash, but))
}

/** The same within a larger transaction, with what {@link hashSecret} made of it. */
export async function writePassword(
  database: Database,
  personId: string,
  hash: string,
  but?: string,
): Promise<void> {
  await database
    .updateTable('accounts')
    .set({ password_hash: hash })
    .where('person_id', '=', personId)
    .execute()
  await database
    .deleteFrom('account_links')
    .where('person_id', '=', personId)
    .where('kind', 'in', ['invitation', 'reset'])
    .where('used_at', 'is', null)
    .execute()
  await endSessions(database, personId, but)
}

/** Ends an account: its sessions, passkeys, links and mails with it. Part of a larger transaction. */
export async function removeAccount(database: Database, personId: string): Promise<void> {
  const mail = (await findAccount(database, personId))?.mail
  // What was mailed there before there was a person.
  if (mail != null) {
    await database.deleteFrom('mails').where('recipient', '=', mail).execute()
    await database.deleteFrom('account_links').where('mail', '=', mail).execute()
  }
  for (const table of [
    'sessions',
    'known_browsers',
    'passkeys',
    'account_links',
    'mails',
    'accounts',
  ] as const)
    await database.deleteFrom(table).where('person_id', '=', personId).execute()
}

/** @internal a migration; see `database.ts` */
export async function createAccounts(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('accounts')
    .addColumn('person_id', 'text', (column) => column.primaryKey().references('people.id'))
    .addColumn('mail', 'text', (column) => column.unique())
    .addColumn('verified_at', 'text')
    .addColumn('password_hash', 'text')
    .addColumn('created_at', 'text', (column) => column.notNull())
    .execute()
}
