/** Passkeys: what an account signs in by without a password. The private half never leaves its authenticator. */
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'

export interface PasskeyTable {
  /** The credential’s, base64url. */
  id: string
  person_id: string
  /** COSE, base64url. */
  public_key: string
  /** How often its authenticator was used, where it counts: a copy is behind. */
  counter: number
  /** JSON list. */
  transports: string
  /** The host name for which it was made: browsers offer it there alone. */
  rp_id: string
  name: string
  created_at: string
  used_at: string | null
}

export interface Passkey {
  readonly id: string
  readonly personId: string
  readonly publicKey: string
  readonly counter: number
  readonly transports: readonly string[]
  readonly rpId: string
  readonly name: string
  readonly createdAt: string
  readonly usedAt: string | null
}

export type NewPasskey = Omit<Passkey, 'personId' | 'createdAt' | 'usedAt'>

/** More than anybody has authenticators. */
const maxPerPerson = 10
const maxName = 63

/** May be part of a larger transaction. Throws a `Problem`. */
export async function addPasskey(
  database: Database,
  personId: string,
  { id, publicKey, counter, transports, rpId, name }: NewPasskey,
  now: Date = new Date(),
): Promise<void> {
  if (await findPasskey(database, id))
    throw new Problem('passkey_exists', 'This passkey is there already.', 'Use another one.')
  if ((await listPasskeys(database, personId)).length >= maxPerPerson)
    throw new Problem('passkeys_exhausted', `There are ${maxPerPerson} passkeys.`, 'Remove one first.')
  await database
    .insertInto('passkeys')
    .values({
      id,
      person_id: personId,
      public_key: publicKey,
      counter,
      transports: JSON.stringify(transports),
      rp_id: rpId,
      name: name.trim().slice(0, maxName),
      created_at: now.toISOString(),
      used_at: null,
    })
    .execute()
}

export async function findPasskey(database: Database, id: string): Promise<Passkey | undefined> {
  const row = await database.selectFrom('passkeys').selectAll().where('id', '=', id).executeTakeFirst()
  return row && toPasskey(row)
}

/** The oldest first. */
export async function listPasskeys(database: Database, personId: string): Promise<Passkey[]> {
  const rows = await database
    .selectFrom('passkeys')
    .selectAll()
    .where('person_id', '=', personId)
    .orderBy('created_at')
    .execute()
  return rows.map(toPasskey)
}

export async function usePasskey(
  database: Database,
  id: string,
  counter: number,
  now: Date = new Date(),
): Promise<void> {
  await database
    .updateTable('passkeys')
    .set({ counter, used_at: now.toISOString() })
    .where('id', '=', id)
    .execute()
}

/** Throws a `Problem` for the last way in, and where there is none of that id. */
export async function removePasskey(database: Database, personId: string, id: string): Promise<void> {
  await database.transaction().execute(async (transaction) => {
    const own = await listPasskeys(transaction, personId)
    if (!own.some((one) => one.id === id))
      throw new Problem('passkey_missing', 'There is no such passkey.', 'Load the page again.')
    const account = await transaction
      .selectFrom('accounts')
      .select('password_hash')
      .where('person_id', '=', personId)
      .executeTakeFirst()
    if (own.length === 1 && account?.password_hash == null)
      throw new Problem(
        'passkey_in_use',
        'This is the only way to sign in.',
        'Set a password, or add another passkey first.',
      )
    await transaction.deleteFrom('passkeys').where('id', '=', id).execute()
  })
}

function toPasskey(row: PasskeyTable): Passkey {
  return {
    id: row.id,
    personId: row.person_id,
    publicKey: row.public_key,
    counter: row.counter,
    transports: JSON.parse(row.transports),
    rpId: row.rp_id,
    name: row.name,
    createdAt: row.created_at,
    usedAt: row.used_at,
  }
}

/** @internal a migration; see `database.ts` */
export async function createPasskeys(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('passkeys')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('person_id', 'text', (column) => column.notNull().references('people.id'))
    .addColumn('public_key', 'text', (column) => column.notNull())
    .addColumn('counter', 'integer', (column) => column.notNull())
    .addColumn('transports', 'text', (column) => column.notNull())
    .addColumn('rp_id', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('used_at', 'text')
    .execute()
}
