/** People: every device belongs to one. */
import { randomUUID } from 'node:crypto'
import { sql, type Generated, type Kysely } from 'kysely'
import type { Database } from '../database.ts'

export interface PersonTable {
  id: string
  name: string
  created_at: string
  tenant_id: Generated<string>
}

export interface Person {
  readonly id: string
  readonly name: string
}

/** The person of that name, made where there is none. */
export async function ensurePerson(database: Database, name: string): Promise<Person> {
  const known = await database
    .selectFrom('people')
    .select(['id', 'name'])
    .where('name', '=', name)
    .executeTakeFirst()
  if (known) return known
  const person = { id: randomUUID(), name }
  await database
    .insertInto('people')
    .values({ ...person, created_at: new Date().toISOString() })
    .execute()
  return person
}

/** The admin: the first person there was. */
export async function firstPerson(database: Database): Promise<Person> {
  const first = await database
    .selectFrom('people')
    .select(['id', 'name'])
    .orderBy('created_at')
    .executeTakeFirst()
  return first ?? ensurePerson(database, 'admin')
}

/** @internal a migration; see `database.ts` */
export async function createPeople(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('people')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .addColumn('created_at', 'text', (column) => column.notNull().defaultTo(sql`CURRENT_TIMESTAMP`))
    .execute()
}
