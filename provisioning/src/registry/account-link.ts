/**
 * One-time links of accounts: an invitation, a sign-up to finish, a new password, a new mail address. Each holds
 * 256 random bits, of which only a hash is kept, and is good once, until its time.
 */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { ensureAccount, findByMail, writeMail, writePassword } from './account.ts'
import { addPasskey, type NewPasskey } from './passkey.ts'
import { insertNamed } from './person.ts'
import { checkPassword, hashSecret, hashToken, makeToken } from './secret.ts'

/** `mail` moves an account to another address. */
export type AccountLinkKind = 'invitation' | 'sign-up' | 'reset' | 'mail'

export interface AccountLinkTable {
  id: string
  kind: AccountLinkKind
  token_hash: string
  /** Null for one who is not a person here yet. */
  person_id: string | null
  /** Where it was mailed to: who has it reads mail there. Null for one that was shown. */
  mail: string | null
  created_at: string
  expires_at: string
  used_at: string | null
}

export interface AccountLink {
  readonly kind: AccountLinkKind
  /** Null for one who chooses it with the link. */
  readonly person: string | null
  readonly personId: string | null
  readonly mail: string | null
  readonly expiresAt: string
}

const hourMs = 3_600_000
/** An invitation may lie in a letter box for some days; what was asked for a moment ago is answered soon. */
export const accountLinkLifeMs = {
  invitation: 72 * hourMs,
  'sign-up': 24 * hourMs,
  reset: hourMs,
  mail: 24 * hourMs,
} as const satisfies Record<AccountLinkKind, number>

export interface NewAccountLink {
  readonly kind: AccountLinkKind
  readonly personId?: string | undefined
  readonly mail?: string | undefined
  readonly lifeMs?: number | undefined
}

export async function makeAccountLink(
  database: Database,
  { kind, personId, mail, lifeMs = accountLinkLifeMs[kind] }: NewAccountLink,
  now: Date = new Date(),
): Promise<{ readonly token: string; readonly expiresAt: string }> {
  const token = makeToken()
  const expiresAt = new Date(now.getTime() + lifeMs).toISOString()
  await database
    .deleteFrom('account_links')
    .where('expires_at', '<', new Date(now.getTime() - 30 * 24 * hourMs).toISOString())
    .execute()
  await database
    .insertInto('account_links')
    .values({
      id: randomUUID(),
      kind,
      token_hash: hashToken(token),
      person_id: personId ?? null,
      mail: mail ?? null,
      created_at: now.toISOString(),
      expires_at: expiresAt,
      used_at: null,
    })
    .execute()
  return { token, expiresAt }
}

/** Throws a `Problem`: `account_link_missing`, `account_link_used`, `account_link_expired`. */
export async function readAccountLink(
  database: Database,
  token: string,
  now: Date = new Date(),
): Promise<AccountLink> {
  const { row, person } = await findLink(database, token, now)
  return {
    kind: row.kind,
    person,
    personId: row.person_id,
    mail: row.mail,
    expiresAt: row.expires_at,
  }
}

/** What comes with a link: by what one signs in from now on, and for a sign-up who one is. */
export interface LinkUse {
  readonly name?: string | undefined
  readonly password?: string | undefined
  readonly passkey?: NewPasskey | undefined
  /** To which one who signs up belongs; made by then. */
  readonly tenant?: string | undefined
}

/** Uses a link, once. Gives whose account it is. Throws a `Problem`. */
export async function useAccountLink(
  database: Database,
  token: string,
  { name, password, passkey, tenant }: LinkUse,
  now: Date = new Date(),
): Promise<{ readonly personId: string; readonly kind: AccountLinkKind }> {
  if (password !== undefined) checkPassword(password)
  // Slow: not while the transaction holds up others.
  const hash = password === undefined ? undefined : await hashSecret(password)
  return database.transaction().execute(async (transaction) => {
    const { row } = await findLink(transaction, token, now)
    const { kind, mail } = row
    if (kind !== 'mail' && hash === undefined && passkey === undefined)
      throw new Problem('password_wanted', 'A password or a passkey is missing.', 'Choose one.')
    if (kind === 'sign-up' && mail !== null && (await findByMail(transaction, mail)) !== undefined)
      throw new Problem('mail_exists', 'This address has an account already.', 'Sign in with it.')
    const personId = row.person_id ?? (await insertNamed(transaction, name ?? '', tenant)).id
    await ensureAccount(transaction, personId, now)
    if (mail !== null) await writeMail(transaction, personId, mail, now)
    // Before the password, which takes away all links that wait.
    await transaction
      .updateTable('account_links')
      .set({ used_at: now.toISOString() })
      .where('id', '=', row.id)
      .execute()
    if (hash !== undefined) await writePassword(transaction, personId, hash)
    if (passkey) await addPasskey(transaction, personId, passkey, now)
    return { personId, kind }
  })
}

async function findLink(database: Database, token: string, now: Date) {
  const row = await database
    .selectFrom('account_links')
    .selectAll()
    .where('token_hash', '=', hashToken(token))
    .executeTakeFirst()
  const person =
    row?.person_id == null
      ? undefined
      : await database
          .selectFrom('people')
          .select('name')
          .where('id', '=', row.person_id)
          .where('left_at', 'is', null)
          .executeTakeFirst()
  if (!row || (row.person_id !== null && !person))
    throw new Problem('account_link_missing', 'This link is none of this gateway’s.', another)
  if (row.used_at !== null) throw new Problem('account_link_used', 'This link has been used.', another)
  if (Date.parse(row.expires_at) <= now.getTime())
    throw new Problem('account_link_expired', 'This link’s time has passed.', another)
  return { row, person: person?.name ?? null }
}

const another = 'Ask for a new one, or sign in.'

/** @internal a migration; see `database.ts` */
export async function createAccountLinks(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('account_links')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('token_hash', 'text', (column) => column.notNull().unique())
    .addColumn('person_id', 'text', (column) => column.references('people.id'))
    .addColumn('mail', 'text')
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'text', (column) => column.notNull())
    .addColumn('used_at', 'text')
    .execute()
}
