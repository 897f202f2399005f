/**
 * Rows of the future. A machine's clock may be wrong for a while and be set back: what was made meanwhile for ten
 * minutes would be good for as long as the clock was ahead.
 */

/** A clock that is kept is moved by less. */
const aheadMs = 5 * 60_000

/** What is dated after this is of the future: ISO 8601. */
export function latest(now: Date): string {
  return new Date(now.getTime() + aheadMs).toISOString()
}
