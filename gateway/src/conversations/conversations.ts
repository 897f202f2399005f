/**
 * What people and the models said to each other, kept for each person: open in any number of sessions at once,
 * found again by its words, renamed, deleted, and restored within its time.
 *
 * A crash loses at most what came within the last 250 ms, and what was in progress.
 */
import type { Logger } from 'pino'
import type {
  BranchList,
  ConversationFound,
  ConversationList,
  ConversationSummary,
  ItemPage,
  WholeConversation,
} from '#protocol/conversations.ts'
import type { Item } from '#protocol/events.ts'
import { newId } from '#realtime/id.ts'
import { readBranches } from './branches.ts'
import { openConversationDatabase } from './database.ts'
import { createHeld } from './held.ts'
import type { Live, Thread } from './live.ts'
import { findConversations } from './search.ts'
import { createNewsroom, type Newsroom } from './news.ts'
import {
  deleteConversation,
  listConversations,
  loadConversation,
  nameFamily,
  noSuchItem,
  readItem,
  readItemsBefore,
  readLastUsed,
  readRow,
  restorableFrom,
  restoreConversation,
  summaryOf,
  within,
  type Naming,
  type Page,
  type Row,
} from './stored.ts'
import { createWriter } from './writer.ts'

/** An owner is a person's id, or `host` for the gateway's own machine. Somebody else's conversation is `not_found`. */
export interface Conversations {
  /** One of the owner's, or a new one, which is there for others from its first item on. Throws a `Failure`. */
  open(owner: string, id?: string): Promise<Thread>
  /** The pinned first, then the newest, of each family one; what was said within the last 250 ms may not count yet. Throws a `Failure` for a bad `before`. */
  list(owner: string, page?: Page): Promise<ConversationList>
  /** Those that hold each of the words, the newest first; the last word may be only begun. */
  search(owner: string, words: string, limit?: number): Promise<ConversationFound[]>
  /** As it is now, with what is in progress. Throws a `Failure`. */
  read(owner: string, id: string): Promise<WholeConversation>
  /** Those right before an item, undefined for the last, in order. Throws a `Failure`. */
  itemsBefore(owner: string, id: string, item?: string, limit?: number): Promise<ItemPage>
  /** Throws a `Failure`. */
  item(owner: string, id: string, item: string): Promise<Item>
  /** Another one, which has the same as far as that item, and not it. Throws a `Failure`. */
  branch(owner: string, id: string, before: string): Promise<ConversationSummary>
  /** Where those that branched off each other part. Throws a `Failure`. */
  branches(owner: string, id: string): Promise<BranchList>
  /** Its branches with it, as all below. Throws a `Failure`. */
  name(owner: string, id: string, naming: Naming): Promise<ConversationSummary>
  /** For 30 days it can be restored. Throws a `Failure`. */
  delete(owner: string, id: string): Promise<void>
  /** Throws a `Failure` where it is not there, or not any more. */
  restore(owner: string, id: string): Promise<ConversationSummary>
  /** Tells of each of the owner's that is begun, changed, restored or deleted. Returns what ends it. */
  onNews: Newsroom['subscribe']
  /** Writes what is left, then ends. */
  close(): Promise<void>
}

export interface ConversationOptions {
  readonly file: string
  readonly log: Pick<Logger, 'error'>
}

/** Of items, where nobody says how many. */
const itemsAtOnce = 100
const purgeEveryMs = 3_600_000

export async function openConversations({ file, log }: ConversationOptions): Promise<Conversations> {
  const database = await openConversationDatabase(file)
  const writer = createWriter(file)
  const newsroom = createNewsroom()
  const held = createHeld(writer, log, newsroom.said)
  const heldOf = (owner: string, id: string): Live | undefined => {
    const live = held.get(id)
    return live?.row.owner === owner && !live.deleted ? live : undefined
  }
  const rowOf = async (owner: string, id: string): Promise<Row> =>
    heldOf(owner, id)?.row ?? readRow(database, owner, id)
  const nameAll = async (family: string, naming: Naming): Promise<void> => {
    // Those that are open first: what is written of them later has it, too.
    for (const live of held.family(family)) live.name(naming)
    await held.flush()
    await nameFamily(database, family, naming)
  }
  /** Whoever lists it shows the one that was used last. */
  const tellOf = async (family: string): Promise<void> => {
    const row = await readLastUsed(database, family)
    if (row) newsroom.changed(row)
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
        if (id === undefined) return held.add({ row: newRow(owner), written: false }).join()
        const live =
          heldOf(owner, id) ?? held.add({ ...(await loadConversation(database, owner, id)), written: true })
        const used = await readLastUsed(database, live.row.family)
        if (used && used.id !== id) {
          live.use(used.updated_at)
          newsroom.changed(live.row)
        }
        return live.join()
      }),
    list: (owner, page = {}) => listConversations(database, owner, page),
    async search(owner, words, limit) {
      const found = await findConversations(database, owner, words, within(limit))
      return found.map(({ conversation, snippet }) => ({ ...summaryOf(conversation), snippet }))
    },
    async read(owner, id) {
      const live = heldOf(owner, id)
      if (live) return { ...summaryOf(live.row), instructions: live.row.instructions, items: [...live.items] }
      const { row, stored } = await loadConversation(database, owner, id)
      return {
        ...summaryOf(row),
        instructions: row.instructions,
        items: stored.map(({ item }) => item),
      }
    },
    async itemsBefore(owner, id, item, limit) {
      const count = within(limit, itemsAtOnce)
      const live = heldOf(owner, id)
      if (live) {
        const end = item === undefined ? live.items.length : live.place(item)
        if (end === -1) throw noSuchItem()
        return { items: live.items.slice(Math.max(0, end - count), end), earlier: end > count }
      }
      await readRow(database, owner, id)
      const position = item === undefined ? Infinity : (await readItem(database, id, item)).position
      const found = await readItemsBefore(database, id, position, count + 1)
      return { items: found.slice(-count), earlier: found.length > count }
    },
    async item(owner, id, item) {
      const found = heldOf(owner, id)?.get(item)
      if (found) return found
      await rowOf(owner, id)
      return (await readItem(database, id, item)).item
    },
    branch: (owner, id, before) =>
      inTurn(async () => {
        const { family, title, pinned, model, instructions, updated_at } = await rowOf(owner, id)
        const live = heldOf(owner, id)
        const until = live ? live.positionOf(before) : (await readItem(database, id, before)).position
        if (until === undefined) throw noSuchItem()
        const row: Row = {
          ...newRow(owner),
          family,
          title,
          titled: title === '' ? 0 : 1,
          pinned,
          model,
          instructions,
          updated_at: Math.max(Date.now(), updated_at + 1),
        }
        // Its own words, once they are others, are no new title of all.
        if (title !== '') await nameAll(family, { title })
        else await held.flush()
        await writer.write({ changes: [], branching: { conversation: row, of: id, until } })
        newsroom.changed(row)
        return summaryOf(row)
      }),
    async branches(owner, id) {
      const row = await rowOf(owner, id)
      await held.flush()
      return readBranches(database, row)
    },
    name: (owner, id, naming) =>
      inTurn(async () => {
        const { family } = await rowOf(owner, id)
        await nameAll(family, naming)
        await tellOf(family)
        return summaryOf(await rowOf(owner, id))
      }),
    delete: (owner, id) =>
      inTurn(async () => {
        if (heldOf(owner, id)) await held.flush()
        for (const gone of await deleteConversation(database, owner, id)) {
          held.get(gone)?.end()
          newsroom.removed(owner, gone)
        }
      }),
    restore: (owner, id) =>
      inTurn(async () => {
        for (const back of await restoreConversation(database, owner, id)) {
          const live = held.get(back)
          if (live) live.deleted = false
        }
        const row = await rowOf(owner, id)
        await tellOf(row.family)
        return summaryOf(row)
      }),
    onNews: newsroom.subscribe,
    async close() {
      clearInterval(purging)
      newsroom.close()
      await held.close()
      await writer.close()
      await database.destroy()
    },
  }
}

function newRow(owner: string): Row {
  const now = Date.now()
  const id = newId('conv')
  return {
    id,
    family: id,
    owner,
    title: '',
    titled: 0,
    pinned: 0,
    created_at: now,
    updated_at: now,
    model: null,
    instructions: '',
  }
}
