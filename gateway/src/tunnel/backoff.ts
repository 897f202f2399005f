/** How long to wait before dialling again: longer each time, and never the same for all that lost one gateway. */

export interface Backoff {
  /** Milliseconds until the next attempt. */
  next(): number
  /** It was connected: the next wait is short again. */
  reset(): void
}

const firstMs = 500
const longestMs = 30_000

/** @param random from 0 to 1 */
export function createBackoff(random: () => number = Math.random): Backoff {
  let attempt = 0
  return {
    next() {
      const most = Math.min(longestMs, firstMs * 2 ** attempt)
      attempt += 1
      // At least half of it: a gateway that starts is not asked by all at once, nor by anybody all the time.
      return most / 2 + (random() * most) / 2
    },
    reset() {
      attempt = 0
    },
  }
}
