/** One conversation in memory, for all sessions that have it open: what changes, who is told, what is to be written. */
import type { Insertable } from 'kysely'
import type { Item } from '#protocol/events.ts'
import type { ItemTable } from './database.ts'
import { createItems } from './items.ts'
import type { Naming, Row } from './stored.ts'
import { titleOf, wordsOf } from './words.ts'

/** What others did to a conversation that one has open. */
export type Change =
  | { readonly kind: 'put'; readonly item: Item; readonly previousItemId: string | null }
  | { readonly kind: 'remove'; readonly id: string }
  | { readonly kind: 'renamed'; readonly title: string }
  | ({ readonly kind: 'configured' } & Settings)
  | { readonly kind: 'deleted' }

export interface Settings {
  /** Null for the first model there is. */
  readonly model: string | null
  readonly instructions: string
}

/** A session's hold on a conversation; others of the same conversation hear what is done through it. */
export interface Thread extends Settings {
  readonly id: string
  /** A person's, else its first words; empty while there are none. */
  readonly title: string
  /** In order; it changes as they do. */
  readonly items: readonly Item[]
  get(id: string): Item | undefined
  /** The id of the one before it; null for the first. */
  before(id: string): string | null
  /**
   * Puts an item in the place of the one with its id, or after another: null for the first place, undefined for
   * the last. It is on disk within 250 ms; one in progress when it is done. Throws a `Failure` where there is no
   * such other.
   */
  put(item: Item, previousItemId?: string | null): void
  /** Does nothing where there is no such item. */
  remove(id: string): void
  configure(settings: Partial<Settings>): void
  /** Calls with what others change, and with a title that the gateway made. Returns what ends it. */
  onChange(listener: (change: Change) => void): () => void
  /** Resolves when everything so far is on disk, but what is in progress; rejects where it could not be written. */
  flush(): Promise<void>
  /** This session hears nothing more; what it still puts, such as the end of a cut answer, is kept. */
  leave(): void
}

/** What is to be written of one conversation, in this order. */
export interface Changes {
  readonly conversation: Row
  /** Ids of items. */
  readonly removed: readonly string[]
  readonly items: readonly Insertable<ItemTable>[]
}

export interface Live {
  readonly row: Readonly<Row>
  readonly items: readonly Item[]
  get(id: string): Item | undefined
  /** Where it stands, from 0; -1 where it is not. */
  place(id: string): number
  /** Where an item is stored, among the others; undefined where there is none. */
  positionOf(id: string): number | undefined
  /** Whether sessions have it open. */
  readonly held: boolean
  /** While it is, nobody can open it; those who have it go on. */
  deleted: boolean
  join(): Thread
  name(naming: Naming): void
  /** Somebody came back to it, after this time. */
  use(after: number): void
  /** Tells all that it is deleted. */
  end(): void
  /** What was in progress when everybody left stays incomplete. */
  settle(): void
  /** What changed since it was taken last; undefined for nothing, and for one in which nothing was said yet. */
  take(): Changes | undefined
  /** Takes back what could not be written. */
  again(changes: Changes): void
}

export interface LiveDeps {
  readonly row: Row
  /** As they are stored, in order. */
  readonly stored?: readonly { readonly item: Item; readonly position: number }[]
  /** Whether the database has it; a new one only from its first item on. */
  readonly written: boolean
  /** There is something to take. */
  changed(): void
  /** Nobody has it open any more. */
  left(): void
  flush(): Promise<void>
}

export function createLive({
  row: first,
  stored = [],
  written: isWritten,
  changed,
  left,
  flush,
}: LiveDeps): Live {
  const row = { ...first }
  const items = createItems(stored.map(({ item }) => item))
  const positions = new Map(stored.map(({ item, position }) => [item.id, position]))
  const sessions = new Set<Set<(change: Change) => void>>()
  const fresh = new Set<string>()
  const removed = new Set<string>()
  let written = isWritten
  let rowChanged = false

  const tell = (change: Change, from?: Set<(change: Change) => void>): void => {
    for (const listeners of sessions)
      if (listeners !== from) for (const listener of listeners) listener(change)
  }
  const rowIsNew = (): void => {
    rowChanged = true
    changed()
  }
  const mark = (item: Item): void => {
    if (isInProgress(item)) return
    fresh.add(item.id)
    row.updated_at = Date.now()
    changed()
  }
  const entitle = (title: string): void => {
    if (title === '' || title === row.title) return
    row.title = title
    tell({ kind: 'renamed', title })
    rowIsNew()
  }
  const positionOf = (item: Item | undefined): number | undefined => item && positions.get(item.id)
  /** Between its neighbours; where doubles have no more room there, all get new ones. */
  const settleAt = (at: number, item: Item): void => {
    const before = positionOf(items.all[at - 1])
    const after = positionOf(items.all[at + 1])
    if (before === undefined) positions.set(item.id, (after ?? 1) - 1)
    else if (after === undefined) positions.set(item.id, before + 1)
    else {
      const middle = (before + after) / 2
      positions.set(item.id, middle)
      if (before < middle && middle < after) return
      items.all.forEach((one, position) => {
        positions.set(one.id, position)
        mark(one)
      })
    }
  }

  const join = (): Thread => {
    const listeners = new Set<(change: Change) => void>()
    sessions.add(listeners)
    return {
      id: row.id,
      get title() {
        return row.title
      },
      get model() {
        return row.model
      },
      get instructions() {
        return row.instructions
      },
      items: items.all,
      get: items.get,
      before: items.before,
      put(item, previousItemId) {
        const isNew = !positions.has(item.id)
        const at = items.put(item, previousItemId)
        if (isNew) settleAt(at, item)
        removed.delete(item.id)
        mark(item)
        tell({ kind: 'put', item, previousItemId: items.all[at - 1]?.id ?? null }, listeners)
        if (row.titled === 0 && item.type === 'message' && item.role === 'user') entitle(titleOf(items.all))
      },
      remove(id) {
        if (!items.remove(id)) return
        positions.delete(id)
        fresh.delete(id)
        removed.add(id)
        row.updated_at = Date.now()
        changed()
        tell({ kind: 'remove', id }, listeners)
      },
      configure({ model = row.model, instructions = row.instructions }) {
        if (model === row.model && instructions === row.instructions) return
        Object.assign(row, { model, instructions })
        tell({ kind: 'configured', model, instructions }, listeners)
        rowIsNew()
      },
      onChange(listener) {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
      flush,
      leave() {
        if (sessions.delete(listeners) && sessions.size === 0) left()
      },
    }
  }

  const live: Live = {
    row,
    deleted: false,
    items: items.all,
    get: items.get,
    place: items.place,
    positionOf: (id) => positions.get(id),
    get held() {
      return sessions.size > 0
    },
    join,
    name({ title, pinned = row.pinned === 1 }) {
      row.pinned = Number(pinned)
      if (title !== undefined) row.titled = 1
      rowIsNew()
      if (title !== undefined) entitle(title)
    },
    use(after) {
      row.updated_at = Math.max(Date.now(), after + 1)
      rowIsNew()
    },
    end() {
      live.deleted = true
      tell({ kind: 'deleted' })
    },
    settle() {
      for (const item of items.all.filter(isInProgress)) {
        const settled = { ...item, status: 'incomplete' } as const
        items.put(settled)
        mark(settled)
      }
    },
    take() {
      const said = items.all.filter((item) => fresh.has(item.id) && !isInProgress(item))
      const gone = [...removed]
      if (!written && said.length === 0) return undefined
      if (said.length + gone.length === 0 && !rowChanged) return undefined
      written = true
      rowChanged = false
      fresh.clear()
      removed.clear()
      return {
        conversation: { ...row },
        removed: gone,
        items: said.map((item) => ({
          conversation_id: row.id,
          id: item.id,
          position: positions.get(item.id) ?? 0,
          json: JSON.stringify(item),
          text: wordsOf(item),
        })),
      }
    },
    again(changes) {
      rowChanged = true
      for (const { id } of changes.items) if (items.get(id)) fresh.add(id)
      for (const id of changes.removed) if (!items.get(id)) removed.add(id)
    },
  }
  return live
}

function isInProgress(item: Item): boolean {
  return 'status' in item && item.status === 'in_progress'
}
