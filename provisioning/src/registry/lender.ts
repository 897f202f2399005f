/** Machines that lend what they have: which there are, from where each came last, and what it said of itself. */
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'

export interface LenderTable {
  person_id: string
  name: string
  /** The name of the key by which it came last. */
  key: string
  address: string
  first_at: string
  last_at: string
  /** JSON, as it told it. */
  offer: string
}

export interface KnownLender {
  readonly personId: string
  readonly person: string
  readonly name: string
  readonly key: string
  /** From which it came last. */
  readonly address: string
  readonly firstAt: string
  /** When it was last connected. */
  readonly lastAt: string
  /** What it told of itself, as JSON. */
  readonly offer: string
}

/** Notes that one is connected, or was until now. */
export async function noteLender(
  database: Database,
  { personId, name, key, address, offer }: Omit<KnownLender, 'person' | 'firstAt' | 'lastAt'>,
  now: Date = new Date(),
): Promise<void> {
  const seen = { key, address, offer, last_at: now.toISOString() }
  await database
    .insertInto('lenders')
    .values({ person_id: personId, name, first_at: now.toISOString(), ...seen })
    .onConflict((conflict) => conflict.columns(['person_id', 'name']).doUpdateSet(seen))
    .execute()
}

export async function listLenders(database: Database): Promise<KnownLender[]> {
  const rows = await database
    .selectFrom('lenders')
    .innerJoin('people', 'people.id', 'lenders.person_id')
    .selectAll('lenders')
    .select('people.name as person')
    .orderBy('people.name')
    .orderBy('lenders.name')
    .execute()
  return rows.map((row) => ({
    personId: row.person_id,
    person: row.person,
    name: row.name,
    key: row.key,
    address: row.address,
    firstAt: row.first_at,
    lastAt: row.last_at,
    offer: row.offer,
  }))
}

/** Whether a person ever had a lender of that name. */
export async function isLender(database: Database, person: string, name: string): Promise<boolean> {
  const found = await database
    .selectFrom('lenders')
    .innerJoin('people', 'people.id', 'lenders.person_id')
    .select('lenders.name')
    .where('people.name', '=', person)
    .where('lenders.name', '=', name)
    .executeTakeFirst()
  return found !== undefined
}

/** @internal a migration; see `database.ts` */
export async function createLenders(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('lenders')
    .addColumn('person_id', 'text', (column) => column.notNull().references('people.id').onDelete('cascade'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('key', 'text', (column) => column.notNull())
    .addColumn('address', 'text', (column) => column.notNull())
    .addColumn('first_at', 'text', (column) => column.notNull())
    .addColumn('last_at', 'text', (column) => column.notNull())
    .addColumn('offer', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('lenders_of_people', ['person_id', 'name'])
    .execute()
}
