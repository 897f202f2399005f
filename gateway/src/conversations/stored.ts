/** Conversations as the database has them; somebody else's, and a deleted one, is `not_found`. */
import { sql, type Selectable } from 'kysely'
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
export function within(limit: number | undefined, usual = usualPage): number {
  return Math.min(limit ?? usual, largestPage)
}

/** What may be given to all branches of one. */
export interface Naming {
  readonly title?: string
  readonly pinned?: boolean
}

/** The pinned first, then the newest; of each family one. Throws a `Failure` for a `before` that is none. */
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
    .where(isLastUsed)
  if (before !== undefined) {
    const [, pinned, at, id] = /^([01])-(\d{1,15})-(\w[\w-]*)$/.exec(before) ?? []
    if (pinned === undefined || at === undefined || id === undefined)
      throw new Failure('invalid', 'before: send the `next` of the page before.')
    query = query.where((_) =>
      _(_.refTuple('pinned', 'updated_at', 'id'), '<', _.tuple(Number(pinned), Number(at), id)),
    )
  }
  const rows = await query
    .orderBy('pinned', 'desc')
    .orderBy('updated_at', 'desc')
    .orderBy('id', 'desc')
    .limit(count + 1)
    .execute()
  const page = rows.slice(0, count)
  const end = rows.length > count ? page.at(-1) : undefined
  return {
    conversations: page.map(summaryOf),
    next: end ? `${end.pinned}-${end.updated_at}-${end.id}` : null,
  }
}

/** One with its items, in order. Throws a `Failure`. */
export async function loadConversation(database: ConversationDatabase, owner: string, id: string) {
  const row = await readRow(database, owner, id)
  const rows = await database
    .selectFrom('items')
    .select(['json', 'position'])
    .where('conversation_id', '=', id)
    .orderBy('position')
    .execute()
  return { row, stored: rows.map(storedOf) }
}

/** An item of a conversation, and where it stands. Throws a `Failure`. */
export async function readItem(database: ConversationDatabase, conversation: string, id: string) {
  const row = await database
    .selectFrom('items')
    .select(['json', 'position'])
    .where('conversation_id', '=', conversation)
    .where('id', '=', id)
    .executeTakeFirst()
  if (!row) throw noSuchItem()
  return storedOf(row)
}

/** Those before a position, the last of them, in order. */
export async function readItemsBefore(
  database: ConversationDatabase,
  conversation: string,
  position: number,
  limit: number,
): Promise<Item[]> {
  const rows = await database
    .selectFrom('items')
    .select(['json', 'position'])
    .where('conversation_id', '=', conversation)
    .where('position', '<', position)
    .orderBy('position', 'desc')
    .limit(limit)
    .execute()
  return rows.toReversed().map((row) => storedOf(row).item)
}

/** One without its items. Throws a `Failure`. */
export async function readRow(database: ConversationDatabase, owner: string, id: string): Promise<Row> {
  const row = await database
    .selectFrom('conversations')
    .select(rowColumns)
    .where('id', '=', id)
    .where('owner', '=', owner)
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
  if (!row) throw notFound()
  return row
}

/** Of a family, the one that was used last; undefined where nothing of it is stored. */
export function readLastUsed(database: ConversationDatabase, family: string): Promise<Row | undefined> {
  return database
    .selectFrom('conversations')
    .select(rowColumns)
    .where('family', '=', family)
    .where('deleted_at', 'is', null)
    .orderBy('updated_at', 'desc')
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst()
}

export async function nameFamily(
  database: ConversationDatabase,
  family: string,
  { title, pinned }: Naming,
): Promise<void> {
  await database
    .updateTable('conversations')
    .set({
      ...(title !== undefined && { title, titled: 1 }),
      ...(pinned !== undefined && { pinned: Number(pinned) }),
    })
    .where('family', '=', family)
    .execute()
}

/** With its family, whose ids it gives. Throws a `Failure`. */
export async function deleteConversation(
  database: ConversationDatabase,
  owner: string,
  id: string,
): Promise<string[]> {
  const rows = await database
    .updateTable('conversations')
    .set({ deleted_at: Date.now() })
    .where('family', '=', familyOf(owner, id))
    .where('deleted_at', 'is', null)
    .returning('id')
    .execute()
  if (rows.length === 0) throw notFound()
  return rows.map((row) => row.id)
}

/** With its family, whose ids it gives. Throws a `Failure` where it is not deleted, or for too long. */
export async function restoreConversation(
  database: ConversationDatabase,
  owner: string,
  id: string,
): Promise<string[]> {
  const rows = await database
    .updateTable('conversations')
    .set({ deleted_at: null })
    .where('family', '=', familyOf(owner, id))
    .where('deleted_at', '>=', restorableFrom())
    .returning('id')
    .execute()
  if (rows.length === 0) throw notFound()
  return rows.map((row) => row.id)
}

/** What was deleted before goes for good: milliseconds since the epoch. */
export function restorableFrom(): number {
  return Date.now() - restorableMs
}

export function summaryOf({
  id,
  family,
  title,
  pinned,
  model,
  created_at,
  updated_at,
}: Row): ConversationSummary {
  return {
    id,
    family,
    title,
    pinned: pinned === 1,
    model,
    createdAt: new Date(created_at).toISOString(),
    updatedAt: new Date(updated_at).toISOString(),
  }
}

/** What a `Row` is read by. */
export const rowColumns = [
  'id',
  'family',
  'owner',
  'title',
  'titled',
  'pinned',
  'created_at',
  'updated_at',
  'model',
  'instructions',
] as const

/** No other of its family was used since: what stands for it in a list. */
const isLastUsed = sql<boolean>`NOT EXISTS (SELECT 1 FROM conversations AS other
  WHERE other.family = conversations.family
  AND (other.updated_at, other.id) > (conversations.updated_at, conversations.id))`

function familyOf(owner: string, id: string) {
  return sql<string>`(SELECT family FROM conversations WHERE id = ${id} AND owner = ${owner})`
}

function storedOf({ json, position }: { readonly json: string; readonly position: number }): {
  readonly item: Item
  readonly position: number
} {
  return { item: JSON.parse(json), position }
}

export function noSuchItem(): Failure {
  return new Failure('not_found', 'The conversation has no such item.')
}

function notFound(): Failure {
  return new Failure('not_found', 'You have no such conversation. `GET /sotto/conversations` lists yours.')
}
