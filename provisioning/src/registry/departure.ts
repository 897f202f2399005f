/**
 * Who deleted their account, noted until nothing of them is left elsewhere: what was written of them lies in other
 * files than the registry, and no transaction spans these. A crash in between is made good at the next start.
 */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Database } from '../database.ts'

export interface DepartureTable {
  id: string
  person_id: string
  name: string
  /** A JSON list of ids. */
  keys: string
  /** 1 where the person went with the account; 0 for one who has devices and stays. */
  gone: number
  left_at: string
}

export interface Departure {
  readonly id: string
  readonly personId: string
  /** As it was. */
  readonly person: string
  /** Ids of the keys that were theirs. */
  readonly keys: readonly string[]
  /** Whether the person went with the account: one who has devices stays, without it. */
  readonly gone: boolean
}

const ids = z.array(z.string())

/** Part of the transaction in which they leave. */
export async function noteDeparture(
  database: Database,
  { personId, person, keys, gone }: Omit<Departure, 'id'>,
): Promise<void> {
  await database
    .insertInto('departures')
    .values({
      id: randomUUID(),
      person_id: personId,
      name: person,
      keys: JSON.stringify(keys),
      gone: Number(gone),
      left_at: new Date().toISOString(),
    })
    .execute()
}

/** Those of which something may be left, the oldest first. */
export async function listDepartures(database: Database): Promise<Departure[]> {
  const rows = await database.selectFrom('departures').selectAll().orderBy('left_at').execute()
  return rows.map((row) => ({
    id: row.id,
    personId: row.person_id,
    person: row.name,
    keys: ids.parse(JSON.parse(row.keys)),
    gone: row.gone === 1,
  }))
}

/** Nothing of them is left, their name here neither. */
export async function endDeparture(database: Database, id: string): Promise<void> {
  await database.deleteFrom('departures').where('id', '=', id).execute()
}

/** @internal a migration; see `database.ts` */
export async function createDepartures(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('departures')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('person_id', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('keys', 'text', (column) => column.notNull())
    .addColumn('gone', 'integer', (column) => column.notNull())
    .addColumn('left_at', 'text', (column) => column.notNull())
    .execute()
}
