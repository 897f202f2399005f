/**
 * What a running gateway reads of its own ledger: in a worker, since a month of rows must not hold up the event
 * loop that carries the streams. It is there while somebody asks.
 */
import { MessageChannel, Worker } from 'node:worker_threads'
import { Problem } from '@sotto/provisioning/problem.ts'
import type { AuditEntry, AuditFilter, KeyUse, Totals } from './report.ts'
import type { Selectable } from 'kysely'
import type { UsageTable } from './database.ts'
import type { Threat } from './threats.ts'

export interface Reports {
  /** The newest first. */
  audit(filter: AuditFilter): Promise<AuditEntry[]>
  /** @param since milliseconds since the epoch, as in those that follow */
  totals(since: number): Promise<Totals>
  threats(since: number): Promise<Threat[]>
  /** @param since the first day, `2026-11-21` */
  usage(since: string): Promise<Selectable<UsageTable>[]>
  /** By key id. */
  keyUses(): Promise<Map<string, KeyUse>>
  close(): Promise<void>
}

export type Question =
  | { readonly ask: 'audit'; readonly filter: AuditFilter }
  | { readonly ask: 'totals' | 'threats'; readonly since: number }
  | { readonly ask: 'usage'; readonly since: string }
  | { readonly ask: 'keyUses' }

/** With the code of a `Problem`. */
export type Reply<Answer> = { readonly answer: Answer } | { readonly error: string; readonly code?: string }

/** A page asks several times in a row; a thread that nobody asks takes some 20 MB. */
const idleMs = 60_000

/** @param file whose tables are up to date */
export function createReports(file: string): Reports {
  let worker: Worker | undefined
  let idle: NodeJS.Timeout | undefined
  /** Questions without an answer yet. */
  let asked = 0

  const start = (): Worker => {
    const made = new Worker(new URL('report-worker.ts', import.meta.url), { workerData: { file } })
    const gone = (): void => {
      if (worker === made) worker = undefined
    }
    made.on('error', gone)
    made.once('exit', gone)
    made.unref()
    return made
  }
  const end = async (): Promise<void> => {
    clearTimeout(idle)
    const ending = worker
    worker = undefined
    await ending?.terminate()
  }
  const ask = async <Answer>(question: Question): Promise<Answer> => {
    clearTimeout(idle)
    asked += 1
    try {
      return await answerOf<Answer>((worker ??= start()), question)
    } finally {
      asked -= 1
      if (asked === 0) idle = setTimeout(() => void end(), idleMs).unref()
    }
  }
  return {
    audit: (filter) => ask({ ask: 'audit', filter }),
    totals: (since) => ask({ ask: 'totals', since }),
    threats: (since) => ask({ ask: 'threats', since }),
    usage: (since) => ask({ ask: 'usage', since }),
    keyUses: () => ask({ ask: 'keyUses' }),
    close: end,
  }
}

function answerOf<Answer>(worker: Worker, question: Question): Promise<Answer> {
  return new Promise((settle, fail) => {
    const { port1, port2 } = new MessageChannel()
    port1.once('message', (reply: Reply<Answer>) => {
      if ('answer' in reply) settle(reply.answer)
      else fail(reply.code === undefined ? new Error(reply.error) : new Problem(reply.code, reply.error))
      port1.close()
    })
    // With the worker its end of the channel goes, too.
    port1.once('close', () => fail(new Error('The ledger could not be read.')))
    worker.postMessage({ question, port: port2 }, [port2])
  })
}
