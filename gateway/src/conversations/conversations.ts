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
import { newId } from '#realtime/id.ts'
import { openConversationDatabase } from './database.ts'
import { createHeld } from './held.ts'
import type { Live, Thread } from './live.ts'
import { findConversations } from './search.ts'
import {
  deleteConversation,
  listConversations,
  loadConversation,
  renameConversation,
  restorableFrom,
  restoreConversation,
  summaryOf,
  within,
  type Page,
  type Row,
} from './stored.ts'
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

export interface ConversationOptions {
  readonly file: string
  readonly log: Pick<Logger, 'error'>
}

const purgeEveryMs = 3_600_000

export async function openConversations({ file, log }: ConversationOptions): Promise<Conversations> {
  const database = await openConversationDatabase(file)
  const writer = createWriter(file)
  const held = createHeld(writer, log)
  const heldOf = (owner: string, id: string): Live | undefined => {
    const live = held.get(id)
    return live?.row.owner === owner && !live.deleted ? live : undefined
  }
  /** What is read to be open must not change before it is. */
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(task: () => Promise<T>): Promise<T> => {
    const done = last.then(task)
    last = done.catch(() => undefined)
    return done
  }
  const purge = (): void => {
    writer
      .write({ changes: [], purgeBefore: restorableFrom() })
      .catch((error: unknown) => log.error({ err: error }, 'deleted conversations could not be purged'))
  }
  purge()
  const purging = setInterval(purge, purgeEveryMs).unref()

  return {
    open: (owner, id) =>
      inTurn(async () => {
        if (id === undefined) return held.add({ row: newRow(owner) }).join()
        const live = heldOf(owner, id) ?? held.add(await loadConversation(database, owner, id))
        return live.join()
      }),
    list: (owner, page = {}) => listConversations(database, owner, page),
    async search(owner, words, limit) {
      const found = await findConversations(database, owner, words, within(limit))
      return found.map(({ conversation, snippet }) => ({ ...summaryOf(conversation), snippet }))
    },
    async read(owner, id) {
      const live = heldOf(owner, id)
      if (live) return { ...summaryOf(live.row), instructions: live.row.instructions, items: live.items }
      const { row, stored } = await loadConversation(database, owner, id)
      return {
        ...summaryOf(row),
        instructions: row.instructions,
        items: stored.map(({ item }) => item),
      }
    },
    rename: (owner, id, title) =>
      inTurn(async () => {
        const live = heldOf(owner, id)
        if (!live) return renameConversation(database, owner, id, title)
        live.rename(title)
        await held.flush()
        return summaryOf(live.row)
      }),
    delete: (owner, id) =>
      inTurn(async () => {
        const live = heldOf(owner, id)
        if (live) await held.flush()
        await deleteConversation(database, owner, id)
        live?.end()
      }),
    restore: (owner, id) =>
      inTurn(async () => {
        const restored = await restoreConversation(database, owner, id)
        const live = held.get(id)
        if (live) live.deleted = false
        return restored
      }),
    async close() {
      clearInterval(purging)
      await held.close()
      await writer.close()
      await database.destroy()
    },
  }
}

function newRow(owner: string): Row {
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
