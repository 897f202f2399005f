/** The one writer of the conversations: waiting for a disk is no business of the event loop that carries the streams. */
import { Worker } from 'node:worker_threads'
import { Problem } from '@sotto/provisioning/problem.ts'
import type { Changes } from './live.ts'
import type { Row } from './stored.ts'

/** A conversation that is made of the beginning of another. */
export interface Branching {
  readonly conversation: Row
  /** Id of the other. */
  readonly of: string
  /** The items before this position are in both. */
  readonly until: number
}

export interface Batch {
  readonly changes: readonly Changes[]
  /** After them. */
  readonly branching?: Branching
  /** What was deleted before goes for good: milliseconds since the epoch. */
  readonly purgeBefore?: number
}

export interface Written {
  /** What went wrong; undefined where the batch is on disk. */
  readonly error?: { readonly code: string; readonly message: string }
}

export interface Writer {
  /** Resolves when the batch is on disk, after those before it; rejects where none of it is. */
  write(batch: Batch): Promise<void>
  /** Ends when what it was given is written. */
  close(): Promise<void>
}

/** @param file whose tables are up to date */
export function createWriter(file: string): Writer {
  // One that ended is started anew with the next batch.
  let worker: Worker | undefined
  let last: Promise<unknown> = Promise.resolve()

  const start = (): Worker => {
    const made = new Worker(new URL('writer-worker.ts', import.meta.url), { workerData: { file } })
    const gone = (): void => {
      if (worker === made) worker = undefined
    }
    made.on('error', gone)
    made.once('exit', gone)
    return made
  }
  const send = (batch: Batch): Promise<void> =>
    new Promise((settle, fail) => {
      const to = (worker ??= start())
      const answered = ({ error }: Written): void => {
        to.off('error', fail)
        if (error === undefined) settle()
        else fail(new Problem(error.code, error.message))
      }
      to.once('message', answered)
      to.once('error', fail)
      to.postMessage(batch)
    })
  return {
    write(batch) {
      const written = last.then(() => send(batch))
      last = written.catch(() => undefined)
      return written
    },
    async close() {
      await last
      const ending = worker
      if (!ending) return
      const ended = new Promise((settle) => ending.once('exit', settle))
      ending.postMessage('close')
      await ended
    },
  }
}
