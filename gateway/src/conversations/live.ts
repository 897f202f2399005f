/** One conversation in memory, for all sessions that have it open: what changes, who is told, what is to be written. */
import type { Insertable } from 'kysely'
import type { Item } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import type { ItemTable } from './database.ts'
import type { Row } from './stored.ts'
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
  /** In order. */
  readonly items: readonly Item[]
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
  /** Whether sessions have it open. */
  readonly held: boolean
  /** While it is, nobody can open it; those who have it go on. */
  deleted: boolean
  join(): Thread
  rename(title: string): void
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
  /** As they are stored, in order; undefined for a new conversation. */
  readonly stored?: readonly { readonly item: Item; readonly position: number }[]
  /** There is something to take. */
  changed(): void
  /** Nobody has it open any more. */
  left(): void
  flush(): Promise<void>
}

interface Slot {
  item: Item
  position: number
}

export function createLive({ row: first, stored, changed, left, flush }: LiveDeps): Live {
  const row = { ...first }
  const slots: Slot[] = (stored ?? []).map((slot) => ({ ...slot }))
  const sessions = new Set<Set<(change: Change) => void>>()
  const fresh = new Set<string>()
  const removed = new Set<string>()
  let written = stored !== undefined
  let rowChanged = false

  const find = (id: string): number => slots.findLastIndex(({ item }) => item.id === id)
  const items = (): Item[] => slots.map(({ item }) => item)
  const tell = (change: Change, from?: Set<(change: Change) => void>): void => {
    for (const listeners of sessions)
      if (listeners !== from) for (const listener of listeners) listener(change)
  }
  const rowIsNew = (): void => {
    rowChanged = true
    changed()
  }
  const mark = ({ item }: Slot): void => {
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
  /** Between its neighbours; where doubles have no more room there, all get new ones. */
  const positionAt = (at: number): number => {
    const before = slots[at - 1]?.position
    const after = slots[at]?.position
    if (before === undefined) return (after ?? 1) - 1
    if (after === undefined) return before + 1
    const middle = (before + after) / 2
    if (before < middle && middle < after) return middle
    slots.forEach((slot, position) => {
      slot.position = position
      mark(slot)
    })
    return at - 0.5
  }
  const place = (item: Item, previousItemId: string | null | undefined): number => {
    const known = find(item.id)
    if (known !== -1) {
      slots[known] = { item, position: slots[known]?.position ?? 0 }
      return known
    }
    const before = typeof previousItemId === 'string' ? find(previousItemId) : -1
    if (typeof previousItemId === 'string' && before === -1)
      throw new Failure('invalid', 'previous_item_id: this conversation has no such item.')
    const at = previousItemId === undefined ? slots.length : before + 1
    slots.splice(at, 0, { item, position: positionAt(at) })
    return at
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
      get items() {
        return items()
      },
      put(item, previousItemId) {
        const at = place(item, previousItemId)
        removed.delete(item.id)
        const slot = slots[at]
        if (slot) mark(slot)
        tell({ kind: 'put', item, previousItemId: slots[at - 1]?.item.id ?? null }, listeners)
        if (row.titled === 0 && item.type === 'message' && item.role === 'user') entitle(titleOf(items()))
      },
      remove(id) {
        const at = find(id)
        if (at === -1) return
        slots.splice(at, 1)
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
    get items() {
      return items()
    },
    get held() {
      return sessions.size > 0
    },
    join,
    rename(title) {
      row.titled = 1
      rowIsNew()
      entitle(title)
    },
    end() {
      live.deleted = true
      tell({ kind: 'deleted' })
    },
    settle() {
      for (const slot of slots) {
        if (!isInProgress(slot.item)) continue
        slot.item = { ...slot.item, status: 'incomplete' }
        mark(slot)
      }
    },
    take() {
      const said = slots.filter(({ item }) => fresh.has(item.id) && !isInProgress(item))
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
        items: said.map(({ item, position }) => ({
          conversation_id: row.id,
          id: item.id,
          position,
          json: JSON.stringify(item),
          text: wordsOf(item),
        })),
      }
    },
    again(changes) {
      rowChanged = true
      for (const { id } of changes.items) if (find(id) !== -1) fresh.add(id)
      for (const id of changes.removed) if (find(id) === -1) removed.add(id)
    },
  }
  return live
}

function isInProgress(item: Item): boolean {
  return 'status' in item && item.status === 'in_progress'
}
