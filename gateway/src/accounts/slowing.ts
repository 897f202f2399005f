/**
 * Slows down who guesses: some tries are free, then each wait is twice as long as the one before. Nobody is shut
 * out for good, and a try counts before it is looked at, since many can come at once.
 */
import { Failure } from '../failure.ts'

export interface Slowing {
  /** Counts a try. Throws a `Failure`, `rate_limited`, while it is not time yet. */
  take(key: string): void
  /** One try was no guess. */
  giveBack(key: string): void
  /** All of them were its owner’s. */
  forget(key: string): void
}

export interface SlowingOptions {
  /** Tries without a wait. */
  readonly free: number
  readonly firstMs: number
  readonly mostMs: number
  /** After so long without a try all is forgotten. */
  readonly quietMs: number
}

interface Tries {
  count: number
  /** By a clock that nobody sets, as `until`: none is shut out for a day because it was set back. */
  at: number
  until: number
}

/** Some 2 MB. Who is forgotten for want of room is the one that tried longest ago. */
const maxKeys = 10_000

export function createSlowing({ free, firstMs, mostMs, quietMs }: SlowingOptions): Slowing {
  const known = new Map<string, Tries>()
  return {
    take(key) {
      const now = performance.now()
      const before = known.get(key)
      const tries = before && now - before.at < quietMs ? before : { count: 0, at: now, until: 0 }
      if (now < tries.until) throw tooSoon(tries.until - now)
      tries.count += 1
      tries.at = now
      const over = tries.count - free
      tries.until = over > 0 ? now + Math.min(mostMs, firstMs * 2 ** Math.min(over - 1, 30)) : 0
      // Last in the order of the map.
      known.delete(key)
      known.set(key, tries)
      const [oldest] = known.keys()
      if (known.size > maxKeys && oldest !== undefined) known.delete(oldest)
    },
    giveBack(key) {
      const tries = known.get(key)
      if (!tries) return
      tries.count -= 1
      tries.until = 0
      if (tries.count <= 0) known.delete(key)
    },
    forget: (key) => void known.delete(key),
  }
}

function tooSoon(ms: number): Failure {
  const seconds = Math.max(1, Math.ceil(ms / 1_000))
  return new Failure('rate_limited', 'Too many tries, one after the other.', undefined, {
    retryAfter: seconds,
    remedy: seconds < 120 ? `Wait ${seconds} seconds.` : `Wait ${Math.ceil(seconds / 60)} minutes.`,
  })
}
