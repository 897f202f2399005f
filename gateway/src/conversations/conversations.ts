/**
 * What people and the models said to each other, kept for each person: open in any number of sessions at once,
 * found again by its words, renamed, deleted, and restored within its time.
 *
 * A crash loses at most what came within the last 250 ms, and what was in progress.
 */
import type { Logger } from 'pino'
import type {
  ConversationFound,
  ConversationList,
  ConversationSummary,
  WholeConversation,
} from '#protocol/conversations.ts'
import type { Item } from '#protocol/events.ts'
import { newId } from '#realtime/id.ts'
import { Failure } from '../failure.ts'
import { openConversationDatabase, type ConversationDatabase } from './database.ts'
import { createLive, type Live, type Thread } from './live.ts'
import { findConversations } from './search.ts'
import { createWriter } from './writer.ts'

/** An owner is a person's id, or `host` for the gateway's own machine. Somebody else's conversation is `not_found`. */
export interface Conversations {
  /** One of the owner's, or a new one, which is there for others from its first item on. Throws a `Failure`. */
  open(owner: string, id?: string): Promise<Thread>
  /** The newest first; what was said within the last 250 ms may not count yet. Throws a `Failure` for a bad `before`. */
  list(owner: string, page?: Page): Promise<ConversationList>
  /** Those that hold each of the words, the newest first; the last word may be only begun. */
  search(owner: string, words: string, limit?: number): Promise<ConversationFound[]>
  /** As it is now, with what is in progress. Throws a `Failure`. */
  read(owner: string, id: string): Promise<WholeConversation>
  /** Throws a `Failure`. */
  rename(owner: string, id: string, title: string): Promise<ConversationSummary>
  /** For 30 days it can be restored. Throws a `Failure`. */
  delete(owner: string, id: string): Promise<void>
  /** Throws a `Failure` where it is not there, or not any more. */
  restore(owner: string, id: string): Promise<ConversationSummary>
  /** Writes what is left, then ends. */
  close(): Promise<void>
}

export interface Page {
  /** `next` of the page before. */
  readonly before?: string
  /** How many; at most 100. */
  readonly limit?: number
}

export interface ConversationOptions {
  readonly file: string
  readonly log: Pick<Logger, 'error'>
}

/** The rest of the 250 ms is the disk's. */
const flushAfterMs = 100
/** For a disk that is full to have room again. */
const retryAfterMs = 1_000
/** A session that comes back soon, and the end of an answer that was cut, find the conversation as it was. */
const lingerMs = 5_000
const restorableMs = 30 * 86_400_000
const purgeEveryMs = 3_600_000
const largestPage = 100
const usualPage = 50

export async function openConversations({ file, log }: ConversationOptions): Promise<Conversations> {
  const database = await openConversationDatabase(file)
  const writer = createWriter(file)
  const lives = new Map<string, Live>()
  const unwritten = new Set<Live>()
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const soon = (ms = flushAfterMs): void => {
    if (!closed) timer ??= setTimeout(() => void flush().catch(() => soon(retryAfterMs)), ms)
  }
  const write = async (): Promise<void> => {
    const taken = [...unwritten].map((live) => ({ live, changes: live.take() }))
    unwritten.clear()
    const changes = taken.flatMap((one) => one.changes ?? [])
    if (changes.length === 0) return
    await writer.write({ changes }).catch((error: unknown) => {
      log.error({ err: error }, 'conversations could not be written')
      for (const one of taken) {
        if (one.changes) one.live.again(one.changes)
        unwritten.add(one.live)
      }
      throw error
    })
  }
  /** One after another: a batch that failed is in the next. */
  let writing: Promise<unknown> = Promise.resolve()
  const flush = (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    const written = writing.then(write)
    writing = written.catch(() => undefined)
    return written
  }

  const hold = (deps: Pick<Parameters<typeof createLive>[0], 'row' | 'stored'>): Live => {
    const live = createLive({
      ...deps,
      changed() {
        unwritten.add(live)
        soon()
      },
      left: () => void setTimeout(() => void letGo(live), lingerMs).unref(),
      flush,
    })
    lives.set(live.row.id, live)
    return live
  }
  const letGo = async (live: Live): Promise<void> => {
    if (live.held || closed) return
    live.settle()
    await flush().catch(() => undefined)
    if (live.held) return
    if (unwritten.has(live)) setTimeout(() => void letGo(live), lingerMs).unref()
    else lives.delete(live.row.id)
  }
  /** Of what somebody has open. */
  const heldOf = (owner: string, id: string): Live | undefined => {
    const live = lives.get(id)
    return live?.row.owner === owner && !live.deleted ? live : undefined
  }

  /** What reads and then changes has the database to itself. */
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(task: () => Promise<T>): Promise<T> => {
    const done = last.then(task)
    last = done.catch(() => undefined)
    return done
  }
  const setDeleted = async (owner: string, id: string, at: number | null): Promise<ConversationSummary> => {
    const now = Date.now()
    const row = await database
      .updateTable('conversations')
      .set({ deleted_at: at })
      .where('id', '=', id)
      .where('owner', '=', owner)
      .where((_) => (at === null ? _('deleted_at', '>=', now - restorableMs) : _('deleted_at', 'is', null)))
      .returningAll()
      .executeTakeFirst()
    if (!row) throw notFound()
    return summaryOf(row)
  }

  const purge = (): void => {
    writer
      .write({ changes: [], purgeBefore: Date.now() - restorableMs })
      .catch((error: unknown) => log.error({ err: error }, 'deleted conversations could not be purged'))
  }
  purge()
  const purging = setInterval(purge, purgeEveryMs).unref()

  return {
    open: (owner, id) =>
      inTurn(async () => {
        if (id === undefined) return hold({ row: newRow(owner) }).join()
        const live = heldOf(owner, id)
        if (live) return live.join()
        const { row, stored } = await load(database, owner, id)
        return hold({ row, stored }).join()
      }),
    list: (owner, page = {}) => list(database, owner, page),
    async search(owner, words, limit = usualPage) {
      const found = await findConversations(database, owner, words, Math.min(limit, largestPage))
      return found.map(({ conversation, snippet }) => ({ ...summaryOf(conversation), snippet }))
    },
    async read(owner, id) {
      const live = heldOf(owner, id)
      const { row, items } = live ?? (await load(database, owner, id))
      return { ...summaryOf(row), instructions: row.instructions, items }
    },
    rename: (owner, id, title) =>
      inTurn(async () => {
        const live = heldOf(owner, id)
        if (live) {
          live.rename(title)
          await flush()
          return summaryOf(live.row)
        }
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
      }),
    delete: (owner, id) =>
      inTurn(async () => {
        const live = heldOf(owner, id)
        if (live) await flush()
        await setDeleted(owner, id, Date.now())
        live?.end()
      }),
    restore: (owner, id) =>
      inTurn(async () => {
        const restored = await setDeleted(owner, id, null)
        const live = lives.get(id)
        if (live) live.deleted = false
        return restored
      }),
    async close() {
      closed = true
      clearInterval(purging)
      for (const live of lives.values()) live.settle()
      await flush().catch((error: unknown) => log.error({ err: error }, 'the last of conversations is lost'))
      await writer.close()
      await database.destroy()
    },
  }
}

async function list(
  database: ConversationDatabase,
  owner: string,
  { before, limit = usualPage }: Page,
): Promise<ConversationList> {
  const count = Math.min(limit, largestPage)
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

async function load(database: ConversationDatabase, owner: string, id: string) {
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
  return { row, stored, items: stored.map(({ item }) => item) }
}

function newRow(owner: string): Live['row'] {
  const now = Date.now()
  return {
    id: newId('conv'),
    owner,
    title: '',
    titled: 0,
    created_at: now,
    updated_at: now,
    model: null,
    instructions: '',
  }
}

function summaryOf({
  id,
  title,
  model,
  created_at: created,
  updated_at: updated,
}: Live['row']): ConversationSummary {
  return {
    id,
    title,
    model: model ?? null,
    createdAt: new Date(created).toISOString(),
    updatedAt: new Date(updated).toISOString(),
  }
}

function notFound(): Failure {
  return new Failure('not_found', 'You have no such conversation. `GET /sotto/conversations` lists yours.')
}
