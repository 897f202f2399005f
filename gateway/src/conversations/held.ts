/** The conversations that are open now, and the writing of what changes in them: in order, in batches. */
import type { Logger } from 'pino'
import { createLive, type Live, type LiveDeps } from './live.ts'
import type { Row } from './stored.ts'
import type { Writer } from './writer.ts'

export interface Held {
  /** Takes one that is not open yet. */
  add(conversation: Pick<LiveDeps, 'row' | 'stored' | 'written'>): Live
  /** One that is open, a deleted one too. */
  get(id: string): Live | undefined
  /** Those of one family that are open. */
  family(id: string): Live[]
  /** Resolves when everything so far is on disk, but what is in progress; rejects where it could not be written. */
  flush(): Promise<void>
  /** Writes what is left; what is in progress is incomplete then. */
  close(): Promise<void>
}

/** The rest of the 250 ms is the disk's. */
const flushAfterMs = 100
/** For a disk that is full to have room again. */
const retryAfterMs = 1_000
/** A session that comes back soon, and the end of an answer that was cut, find the conversation as it was. */
const lingerMs = 5_000

/** @param said called when something new of a conversation is on disk */
export function createHeld(
  writer: Pick<Writer, 'write'>,
  log: Pick<Logger, 'error'>,
  said: (row: Row) => void,
): Held {
  const lives = new Map<string, Live>()
  const unwritten = new Set<Live>()
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const soon = (ms = flushAfterMs): void => {
    if (!closed) timer ??= setTimeout(() => void flush().catch(() => soon(retryAfterMs)), ms)
  }
  const write = async (): Promise<void> => {
    const taken = [...unwritten].flatMap((live) => {
      const changes = live.take()
      return changes ? [{ live, changes }] : []
    })
    unwritten.clear()
    if (taken.length === 0) return
    await writer.write({ changes: taken.map(({ changes }) => changes) }).catch((error: unknown) => {
      log.error({ err: error }, 'conversations could not be written')
      for (const { live, changes } of taken) {
        live.again(changes)
        unwritten.add(live)
      }
      throw error
    })
    for (const { live, changes } of taken)
      if (!live.deleted && changes.items.length + changes.removed.length > 0) said(changes.conversation)
  }
  /** One after another: a batch that failed is in the next. */
  let writing: Promise<unknown> = Promise.resolve()
  const flush = (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    const written = writing.then(write)
    writing = written.catch(() => undefined)
    return written
  }
  const letGo = async (live: Live): Promise<void> => {
    if (live.held || closed) return
    live.settle()
    await flush().catch(() => undefined)
    if (live.held) return
    if (unwritten.has(live)) linger(live)
    else lives.delete(live.row.id)
  }
  const linger = (live: Live): void => {
    setTimeout(() => void letGo(live), lingerMs).unref()
  }

  return {
    add(conversation) {
      const live = createLive({
        ...conversation,
        changed() {
          unwritten.add(live)
          soon()
        },
        left: () => linger(live),
        flush,
      })
      lives.set(live.row.id, live)
      return live
    },
    get: (id) => lives.get(id),
    family: (id) => [...lives.values()].filter(({ row }) => row.family === id),
    flush,
    async close() {
      closed = true
      for (const live of lives.values()) live.settle()
      await flush().catch((error: unknown) => log.error({ err: error }, 'the last of conversations is lost'))
    },
  }
}
