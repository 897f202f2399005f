/** The items of a conversation in their order, each found by its id at once: there may be thousands. */
import type { Item } from '#protocol/events.ts'
import { Failure } from '../failure.ts'

export interface Items {
  /** In order; it changes as they do. */
  readonly all: readonly Item[]
  get(id: string): Item | undefined
  /** The id of the one before it; null for the first. */
  before(id: string): string | null
  /** Where it stands, from 0; -1 where it is not. At once for the last. */
  place(id: string): number
  /**
   * Puts an item in the place of the one with its id, or after another: null for the first place, undefined for
   * the last. Gives its place. Throws a `Failure` where there is no such other.
   */
  put(item: Item, previousItemId?: string | null): number
  /** False where there is no such item. */
  remove(id: string): boolean
}

export function createItems(first: readonly Item[] = []): Items {
  const all = [...first]
  const known = new Map(all.map((item) => [item.id, item]))
  const place = (id: string): number => {
    const item = known.get(id)
    return item ? all.lastIndexOf(item) : -1
  }
  const after = (previousItemId: string | null | undefined): number => {
    if (previousItemId === undefined) return all.length
    if (previousItemId === null) return 0
    const before = place(previousItemId)
    if (before === -1) throw new Failure('invalid', 'previous_item_id: this conversation has no such item.')
    return before + 1
  }
  return {
    all,
    get: (id) => known.get(id),
    before: (id) => all[place(id) - 1]?.id ?? null,
    place,
    put(item, previousItemId) {
      const now = place(item.id)
      const at = now === -1 ? after(previousItemId) : now
      all.splice(at, now === -1 ? 0 : 1, item)
      known.set(item.id, item)
      return at
    },
    remove(id) {
      const at = place(id)
      if (at === -1) return false
      all.splice(at, 1)
      return known.delete(id)
    },
  }
}
