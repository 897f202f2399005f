/** What happened, written down: a row for each request, what was spent, prompts where a key has it so. */
import { Worker } from 'node:worker_threads'
import type { Insertable } from 'kysely'
import type { Logger } from 'pino'
import type { Batch, Forgotten, Written } from './batch.ts'
import { createAside } from './aside.ts'
import { auditColumns, promptColumns } from './columns.ts'
import type { AuditTable, PromptTable, SpendingTable } from './database.ts'

export type AuditRow = Insertable<AuditTable>
export type PromptRow = Insertable<PromptTable>
/** Read when it is written, so that the newest counts. */
export type Spending = Readonly<Omit<SpendingTable, 'gateway'>>

export interface Ledger {
  /** Takes a row; it is on disk within 100 ms. */
  record(row: AuditRow): void
  keepPrompt(row: PromptRow): void
  /** Resolves when what was spent is on disk; rejects where it could not be written. */
  spend(spending: Iterable<Spending>): Promise<void>
  /** Takes what was spent, with the next batch. */
  note(spending: Iterable<Spending>): void
  /** Takes a person's name out of all that was written so far; resolves when that is on disk. */
  forget(gone: Forgotten): Promise<void>
  /** Whether the last batch could be written. */
  healthy(): boolean
  /** Whether it could not since PostgreSQL is away: what is asked for now would be known to this process alone. */
  away(): boolean
  /** Resolves when everything taken so far is on disk. */
  flush(): Promise<void>
  /** Writes what is left, then ends. */
  close(): Promise<void>
}

export interface LedgerOptions {
  readonly file: string
  /** Whose spending it is: an id. */
  readonly gateway: string
  /** Audit rows are kept that long. */
  readonly keepMs: number
  readonly log: Pick<Logger, 'error'>
}

/** Half of the 100 ms that a row may wait: the disk has the rest. */
const flushEveryMs = 50
/** A writer that ended is started anew; not at once, where it can’t start at all. */
const restartAfterMs = 1_000
/** Some 20 MB: a disk that is full must not fill the memory too. */
const maxWaiting = 50_000
/** Old rows are looked for so often. */
const tidyEveryMs = 60_000

interface Waiting {
  audit: AuditRow[]
  prompts: PromptRow[]
  spending: Set<Spending>
  forget: Forgotten[]
  settle: (() => void)[]
  fail: ((error: unknown) => void)[]
}

export function createLedger({ file, gateway, keepMs, log }: LedgerOptions): Ledger {
  let worker: Worker | undefined = start()
  const aside = createAside(`${file}.waiting`, (error) =>
    log.error({ err: error }, 'what waits for the ledger could not be put aside'),
  )
  const left = aside.read()
  let waiting: Waiting = { ...empty(), audit: [...left.audit], prompts: [...left.prompts] }
  let timer: NodeJS.Timeout | undefined
  let number = 0
  let tidied = 0
  let healthy = true
  let away = false
  const sent = new Map<number, Waiting>()

  const send = (): void => {
    clearTimeout(timer)
    timer = undefined
    const { audit, prompts, spending, forget, settle } = waiting
    if (!worker || audit.length + prompts.length + spending.size + settle.length === 0) return
    const now = Date.now()
    const tidy = now - tidied > tidyEveryMs
    if (tidy) tidied = now
    number += 1
    sent.set(number, waiting)
    waiting = empty()
    const batch: Batch = {
      number,
      audit: JSON.stringify(audit.map((row) => auditColumns.map((name) => row[name] ?? null))),
      prompts: JSON.stringify(prompts.map((row) => promptColumns.map((name) => row[name] ?? null))),
      spending: JSON.stringify(
        [...spending].map(({ subject, window, used, held }) => [subject, window, gateway, used, held]),
      ),
      forget: JSON.stringify(forget),
      keepAuditFrom: tidy ? now - keepMs : 0,
      now,
    }
    worker.postMessage(batch)
  }
  const soon = (): void => {
    timer ??= setTimeout(send, flushEveryMs)
  }
  /** What could not be written waits for the next attempt. */
  const keep = (batch: Waiting, error: Error): void => {
    healthy = false
    away = 'code' in error && error.code === 'database_away'
    log.error({ err: error }, 'the ledger could not be written')
    const room = Math.max(0, maxWaiting - waiting.audit.length)
    waiting.audit = [...batch.audit.slice(0, room), ...waiting.audit]
    waiting.prompts = [...batch.prompts.slice(0, room), ...waiting.prompts]
    for (const one of batch.spending) waiting.spending.add(one)
    waiting.forget = [...batch.forget, ...waiting.forget]
    const lost = Math.max(0, batch.audit.length - room)
    if (away) aside.put(waiting)
    if (lost > 0) log.error({ lost }, 'audit rows were lost, since they can not be written')
    batch.fail.forEach((fail) => fail(error))
    timer ??= setTimeout(send, 20 * flushEveryMs)
  }
  function start(): Worker {
    const made = new Worker(new URL('writer.ts', import.meta.url), { workerData: { file } })
    made.on('message', ({ number: done, error, code }: Written) => {
      const batch = sent.get(done)
      sent.delete(done)
      if (!batch) return
      if (error !== undefined) return keep(batch, Object.assign(new Error(error), { code }))
      healthy = true
      away = false
      // Those of other batches are on their way, and are put there again where they fail.
      aside.clear()
      batch.settle.forEach((settle) => settle())
    })
    made.on('error', (error: Error) => {
      const batches = [...sent.values()]
      sent.clear()
      for (const batch of batches.toReversed()) keep(batch, error)
      worker = undefined
      setTimeout(() => {
        worker = start()
        send()
      }, restartAfterMs).unref()
    })
    return made
  }
  const put = (spending: Iterable<Spending>): void => {
    for (const one of spending) waiting.spending.add(one)
  }
  const flushed = (): Promise<void> =>
    new Promise((settle, fail) => {
      waiting.settle.push(settle)
      waiting.fail.push(fail)
    })
  if (left.audit.length + left.prompts.length > 0) soon()
  return {
    record(row) {
      waiting.audit.push(row)
      soon()
    },
    keepPrompt(row) {
      waiting.prompts.push(row)
      soon()
    },
    note(spending) {
      put(spending)
      soon()
    },
    spend(spending) {
      put(spending)
      const done = flushed()
      // After what else this turn of the event loop brings: many requests share one write.
      if (waiting.settle.length === 1) setImmediate(send)
      return done
    },
    forget(gone) {
      waiting.forget.push(gone)
      const done = flushed()
      send()
      return done
    },
    healthy: () => healthy,
    away: () => away,
    flush() {
      const done = flushed()
      send()
      return done
    },
    async close() {
      const done = flushed()
      send()
      await done.catch((error: unknown) => log.error({ err: error }, 'the last of the ledger is not in it'))
      await aside.settled()
      worker?.postMessage('close')
      await new Promise((settle) => (worker ? worker.once('exit', settle) : settle(undefined)))
    },
  }
}

function empty(): Waiting {
  return { audit: [], prompts: [], spending: new Set(), forget: [], settle: [], fail: [] }
}
