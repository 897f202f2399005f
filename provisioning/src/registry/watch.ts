/** Tells of changes to the registry, made by this process or another: the database is the only messenger. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Database } from '../database.ts'
import { readRevision } from './network.ts'

/** A database that is away is not there again at once, and each time is in the log. */
const lookAgainMs = 1_000
/** A removed or expired device must be out within a second; a look costs some 50 µs. */
const lookEveryMs = 100

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
    while (!stop.signal.aborted) {
      let wait = lookEveryMs
      try {
        const revision = await readRevision(database)
        if ((seen !== undefined && revision !== seen) || Date.now() >= due) due = await changed()
        seen = revision
      } catch (error) {
        failed(error)
        wait = lookAgainMs
      }
      await pause(wait, undefined, { signal: stop.signal, ref: false }).catch(() => {})
    }
  })()
  return async () => {
    stop.abort()
    await watching
  }
}
