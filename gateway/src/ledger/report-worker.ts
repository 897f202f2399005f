/** A worker that answers `reports.ts` from the ledger's file. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { Problem } from '@sotto/provisioning/problem.ts'
import { z } from 'zod'
import { openLedgerDatabase, type LedgerDatabase } from './database.ts'
import { readAudit, readKeyUses, readThreats, readTotals, readUsageRows } from './report.ts'
import type { Question, Reply } from './reports.ts'

const { file } = z.object({ file: z.string() }).parse(workerData)
let database: Promise<LedgerDatabase> | undefined

/** Where it could not be opened it is tried again. */
function open(): Promise<LedgerDatabase> {
  return (database ??= openLedgerDatabase(file).catch((error: unknown) => {
    database = undefined
    throw error
  }))
}

async function answer(question: Question): Promise<unknown> {
  const ledger = await open()
  switch (question.ask) {
    case 'audit':
      return readAudit(ledger, question.filter)
    case 'totals':
      return readTotals(ledger, question.since)
    case 'threats':
      return readThreats(ledger, question.since)
    case 'usage':
      return readUsageRows(ledger, question.since)
    default:
      return readKeyUses(ledger)
  }
}

parentPort?.on('message', ({ question, port }: { question: Question; port: MessagePort }) => {
  answer(question).then(
    (found) => port.postMessage({ answer: found } satisfies Reply<unknown>),
    (error: unknown) =>
      port.postMessage({
        error: String(error),
        ...(error instanceof Problem && { code: error.code }),
      } satisfies Reply<unknown>),
  )
})
