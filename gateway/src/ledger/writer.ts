/**
 * A worker that writes batches to the ledger, each as one transaction that is on disk before it is
 * acknowledged: waiting for a disk is no business of the event loop that carries the streams.
 */
import { dirname } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { readSetting } from '@sotto/provisioning/postgres/setting.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import { z } from 'zod'
import type { Batch, Written } from './batch.ts'

const { file } = z.object({ file: z.string() }).parse(workerData)
const writer = await open()

async function open() {
  if (await readSetting(dirname(file))) return (await import('./write-postgres.ts')).writePostgres(file)
  return (await import('./write-sqlite.ts')).writeSqlite(file)
}

async function write(batch: Batch): Promise<Written> {
  try {
    await writer.write(batch)
    return { number: batch.number }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { number: batch.number, error: message, ...(error instanceof Problem && { code: error.code }) }
  }
}

let last: Promise<void> = Promise.resolve()
parentPort?.on('message', (batch: Batch | 'close') => {
  last = last.then(async () => {
    if (batch !== 'close') return parentPort?.postMessage(await write(batch))
    await writer.close()
    return parentPort?.close()
  })
})
