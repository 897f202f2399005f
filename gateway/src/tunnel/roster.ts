/**
 * Who lends now, one connection a lender. The newest connection has the place, in the order in which they came,
 * however long each took to be ready; and whoever leaves takes away its own entry alone.
 */
export interface Entry {
  /** The lender's, the same for all its connections. */
  readonly id: string
  /** Counts up with each connection that came. */
  readonly number: number
  /** A newer connection has its place. */
  replaced(): void
}

export interface Roster<One extends Entry> {
  /** False where a newer one is there already: it was told that it is replaced. */
  enter(one: One): boolean
  leave(one: One): void
  get(id: string): One | undefined
  readonly all: readonly One[]
}

export function createRoster<One extends Entry>(): Roster<One> {
  const entries = new Map<string, One>()
  return {
    enter(one) {
      const before = entries.get(one.id)
      if (before && before.number > one.number) {
        one.replaced()
        return false
      }
      entries.set(one.id, one)
      before?.replaced()
      return true
    },
    leave(one) {
      if (entries.get(one.id) === one) entries.delete(one.id)
    },
    get: (id) => entries.get(id),
    get all() {
      return [...entries.values()]
    },
  }
}
