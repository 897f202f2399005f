/** Tells of changes to the registry, made by this process or another: the database is the only messenger. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Database } from '../database.ts'
import { readRevision } from './network.ts'

/** A removed or expired device must be out within a second; a look costs some 50 µs. */
const lookEveryMs = 100
/** A clock that is kept is moved by less. */
const setBackMs = 1_000
/** What failed will likely fail at once again, and says so in the log. */
const failedWaitMs = 1_000

/**
 * Calls `changed` after each change, one call at a time, and at the time that its last call gave, since some
 * things end by themselves. A failure of it is told to `failed`, and it is called again at the next look.
 * Returns what ends the watch.
 *
 * @param until when `changed` is due even if nothing changes: milliseconds since the epoch, or Infinity
 */
export function watchRegistry(
  database: Database,
  until: number,
  changed: () => Promise<number>,
  failed: (error: unknown) => void,
): () => Promise<void> {
  const stop = new AbortController()
  const watching = (async () => {
    let seen: number | undefined
    let due = until
    let last = Date.now()
    while (!stop.signal.aborted) {
      let wait = lookEveryMs
      try {
        const revision = await readRevision(database)
        const now = Date.now()
        // Of what had ended by a clock that was wrong, some has not.
        const setBack = now < last - setBackMs
        if ((seen !== undefined && revision !== seen) || now >= due || setBack) due = await changed()
        last = now
        seen = revision
      } catch (error) {
        failed(error)
        wait = failedWaitMs
      }
      await pause(wait, undefined, { signal: stop.signal, ref: false }).catch(() => {})
    }
  })()
  return async () => {
    stop.abort()
    await watching
  }
}
