/** Conversations as the database has them; somebody else's, and a deleted one, is `not_found`. */
import type { Selectable } from 'kysely'
import type { ConversationList, ConversationSummary } from '#protocol/conversations.ts'
import type { Item } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import type { ConversationDatabase, ConversationTable } from './database.ts'

/** A conversation's own row, but for what only the database knows. */
export type Row = Omit<Selectable<ConversationTable>, 'number' | 'deleted_at'>

export interface Page {
  /** `next` of the page before. */
  readonly before?: string
  /** How many; at most 100. */
  readonly limit?: number
}

const largestPage = 100
const usualPage = 50
const restorableMs = 30 * 86_400_000

/** How many are answered, of so many that were asked for. */
export function within(limit: number = usualPage): number {
  return Math.min(limit, largestPage)
}

/** The newest first. Throws a `Failure` for a `before` that is none. */
export async function listConversations(
  database: ConversationDatabase,
  owner: string,
  { before, limit }: Page,
): Promise<ConversationList> {
  const count = within(limit)
  let query = database
    .selectFrom('conversations')
    .selectAll()
    .where('owner', '=', owner)
    .where('deleted_at', 'is', null)
  if (before !== undefined) {
    const [, at, id] = /^(\d{1,15})-(\w[\w-]*)$/.exec(before) ?? []
    if (at === undefined || id === undefined)
      throw new Failure('invalid', 'before: send the `next` of the page before.')
    query = query.where((_) => _(_.refTuple('updated_at', 'id'), '<', _.tuple(Number(at), id)))
  }
  const rows = await query
    .orderBy('updated_at', 'desc')
    .orderBy('id', 'desc')
    .limit(count + 1)
    .execute()
  const page = rows.slice(0, count)
  const end = rows.length > count ? page.at(-1) : undefined
  return { conversations: page.map(summaryOf), next: end ? `${end.updated_at}-${end.id}` : null }
}

/** One with its items, in order. Throws a `Failure`. */
export async function loadConversation(database: ConversationDatabase, owner: string, id: string) {
  const row = await database
    .selectFrom('conversations')
    .select(['id', 'owner', 'title', 'titled', 'created_at', 'updated_at', 'model', 'instructions'])
    .where('id', '=', id)
    .where('owner', '=', owner)
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
  if (!row) throw notFound()
  const rows = await database
    .selectFrom('items')
    .select(['json', 'position'])
    .where('conversation_id', '=', id)
    .orderBy('position')
    .execute()
  const stored = rows.map(({ json, position }): { item: Item; position: number } => ({
    item: JSON.parse(json),
    position,
  }))
  return { row, stored }
}

/** Throws a `Failure`. */
export async function renameConversation(
  database: ConversationDatabase,
  owner: string,
  id: string,
  title: string,
): Promise<ConversationSummary> {
  const row = await database
    .updateTable('conversations')
    .set({ title, titled: 1 })
    .where('id', '=', id)
    .where('owner', '=', owner)
    .where('deleted_at', 'is', null)
    .returningAll()
    .executeTakeFirst()
  if (!row) throw notFound()
  return summaryOf(row)
}

/** Throws a `Failure`. */
export async function deleteConversation(
  database: ConversationDatabase,
  owner: string,
  id: string,
): Promise<void> {
  const row = await database
    .updateTable('conversations')
    .set({ deleted_at: Date.now() })
    .where('id', '=', id)
    .where('owner', '=', owner)
    .where('deleted_at', 'is', null)
    .returning('id')
    .executeTakeFirst()
  if (!row) throw notFound()
}

/** Throws a `Failure` where it is not deleted, or for too long. */
export async function restoreConversation(
  database: ConversationDatabase,
  owner: string,
  id: string,
): Promise<ConversationSummary> {
  const row = await database
    .updateTable('conversations')
    .set({ deleted_at: null })
    .where('id', '=', id)
    .where('owner', '=', owner)
    .where('deleted_at', '>=', restorableFrom())
    .returningAll()
    .executeTakeFirst()
  if (!row) throw notFound()
  return summaryOf(row)
}

/** What was deleted before goes for good: milliseconds since the epoch. */
export function restorableFrom(): number {
  return Date.now() - restorableMs
}

export function summaryOf({ id, title, model, created_at, updated_at }: Row): ConversationSummary {
  return {
    id,
    title,
    model,
    createdAt: new Date(created_at).toISOString(),
    updatedAt: new Date(updated_at).toISOString(),
  }
}

function notFound(): Failure {
  return new Failure('not_found', 'You have no such conversation. `GET /sotto/conversations` lists yours.')
}
