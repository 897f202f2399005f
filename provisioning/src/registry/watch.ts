/** Tells of changes to the registry, made by this process or another: the database is the only messenger. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Database } from '../database.ts'
import { readRevision } from './network.ts'

/** A removed device must be out within a second; a look costs some 50 µs. */
const lookEveryMs = 200

/**
 * Calls `changed` after each change, one call at a time; a failure of it is told to `failed`, and it is
 * called again at the next look. Returns what ends the watch.
 */
export function watchRegistry(
  database: Database,
  changed: () => Promise<void>,
  failed: (error: unknown) => void,
): () => Promise<void> {
  const stop = new AbortController()
  const watching = (async () => {
    let seen: number | undefined
    while (!stop.signal.aborted) {
      try {
        const revision = await readRevision(database)
        if (seen !== undefined && revision !== seen) await changed()
        seen = revision
      } catch (error) {
        failed(error)
      }
      await pause(lookEveryMs, undefined, { signal: stop.signal, ref: false }).catch(() => {})
    }
  })()
  return async () => {
    stop.abort()
    await watching
  }
}
