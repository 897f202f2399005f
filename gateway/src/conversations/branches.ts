/** Conversations that began as one: where they part, and which of them has what from there on. */
import { sql } from 'kysely'
import type { BranchList, BranchPoint } from '#protocol/conversations.ts'
import type { ConversationDatabase } from './database.ts'
import type { Row } from './stored.ts'

/** Another of the family, and where it parts from the one that is asked for. */
interface Parting {
  readonly id: string
  readonly created_at: number
  readonly updated_at: number
  /** The first item of the one asked for that it has not, and where that stands. */
  readonly mine: string | null
  readonly position: number | null
  /** Its own first item that the one asked for has not. */
  readonly theirs: string | null
}

/** A version of what was said from a point on, and the conversations that have it. */
interface Version {
  /** When the first of them was begun. */
  since: number
  readonly holders: Pick<Parting, 'id' | 'updated_at'>[]
}

export async function readBranches(
  database: ConversationDatabase,
  { id, family, created_at, updated_at }: Row,
): Promise<BranchList> {
  // Branches share items by their ids, and differ from some place on.
  const { rows } = await sql<Parting>`
    SELECT other.id, other.created_at, other.updated_at, mine.id AS mine, mine.position,
      (SELECT items.id FROM items WHERE items.conversation_id = other.id
        AND NOT EXISTS (SELECT 1 FROM items AS shared
          WHERE shared.conversation_id = ${id} AND shared.id = items.id)
        ORDER BY items.position LIMIT 1) AS theirs
    FROM conversations AS other
    LEFT JOIN items AS mine ON mine.number = (SELECT items.number FROM items WHERE items.conversation_id = ${id}
      AND NOT EXISTS (SELECT 1 FROM items AS shared
        WHERE shared.conversation_id = other.id AND shared.id = items.id)
      ORDER BY items.position LIMIT 1)
    WHERE other.family = ${family} AND other.id <> ${id} AND other.deleted_at IS NULL
    ORDER BY mine.position`.execute(database)
  // Of one that ends where they part there is nothing to see.
  const parted = rows.filter(({ mine, theirs }) => mine !== null && theirs !== null)
  const points = Map.groupBy(parted, ({ mine }) => mine ?? '')
  return {
    points: Array.from(points, ([item, others]) => {
      // Those that part later have the same here.
      const along = rows.filter((row) => (row.position ?? Infinity) > (others[0]?.position ?? 0))
      const since = Math.min(created_at, ...along.map((row) => row.created_at))
      return pointOf(item, { since, holders: [{ id, updated_at }] }, others)
    }),
  }
}

function pointOf(item: string, own: Version, others: readonly Parting[]): BranchPoint {
  const theirs = Array.from(Map.groupBy(others, (other) => other.theirs).values(), (holders): Version => ({
    since: Math.min(...holders.map((one) => one.created_at)),
    holders,
  }))
  const versions = [own, ...theirs].toSorted((one, other) => one.since - other.since)
  return { item, versions: versions.map(lastUsed), current: versions.indexOf(own) }
}

function lastUsed({ holders }: Version): string {
  return holders.reduce((last, one) => (one.updated_at > last.updated_at ? one : last)).id
}
