/**
 * A worker that writes batches to the ledger, each as one transaction that is on disk before it is
 * acknowledged: waiting for a disk is no business of the event loop that carries the streams.
 */
import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { z } from 'zod'
import { windowsAt } from '#admission/window.ts'
import { auditColumns, promptColumns, type Row } from './columns.ts'

/** JSON lists of rows, since a string crosses to a worker at the least cost. */
export interface Batch {
  readonly number: number
  readonly audit: string
  readonly spending: string
  readonly prompts: string
  /** A JSON list of `Forgotten`. */
  readonly forget: string
  /** Rows of before are deleted: milliseconds since the epoch; 0 for none. */
  readonly keepAuditFrom: number
  readonly now: number
}

/** A person who deleted their account. */
export interface Forgotten {
  readonly person: string
  /** Ids of the keys that were theirs. */
  readonly keys: readonly string[]
}

export interface Written {
  readonly number: number
  /** What went wrong; undefined where the batch is on disk. */
  readonly error?: string
  /** SQLite’s. */
  readonly errcode?: unknown
}

const { file } = z.object({ file: z.string() }).parse(workerData)
const database = new DatabaseSync(file, { timeout: 5_000 })
database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')

const insert = (table: string, columns: readonly string[], rest = '') =>
  database.prepare(
    `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')}) ${rest}`,
  )
const insertAudit = insert('audit', auditColumns)
const insertPrompt = insert('prompts', promptColumns)
const addUsage = insert(
  'usage',
  [
    'day',
    'tenant',
    'person',
    'device',
    'key',
    'model',
    'service',
    'requests',
    'input_tokens',
    'output_tokens',
  ],
  `ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
    input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens`,
)
const addKeyUse = insert(
  'key_uses',
  ['key_id', 'address', 'first_at', 'last_at', 'requests'],
  'ON CONFLICT DO UPDATE SET last_at = excluded.last_at, requests = requests + excluded.requests',
)
const setSpending = insert(
  'spending',
  ['subject', 'window', 'used', 'held'],
  'ON CONFLICT DO UPDATE SET used = excluded.used, held = excluded.held',
)
const forgetPrompts = database.prepare('DELETE FROM prompts WHERE expires_at <= ?')
const forgetAudit = database.prepare('DELETE FROM audit WHERE at < ?')

const usageNames = 'day, tenant, device, model, service'
const forgetPerson = [
  `UPDATE audit SET person = NULL, key = NULL WHERE person = :person`,
  // A lender has the name of its person.
  `UPDATE audit SET backend = NULL WHERE substr(backend, 1, length(:person) + 1) = :person || '/'`,
  `UPDATE audit SET path = replace(replace(path, '/users/' || :inPath || '/', '/users/-/'),
    '/people/' || :inPath, '/people/-') WHERE instr(path, '/' || :inPath)`,
  `INSERT INTO usage (${usageNames}, person, key, requests, input_tokens, output_tokens)
    SELECT ${usageNames}, '', '', sum(requests), sum(input_tokens), sum(output_tokens)
    FROM usage WHERE person = :person GROUP BY ${usageNames}
    ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
    input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens`,
  `DELETE FROM usage WHERE person = :person`,
].map((text) => {
  const statement = database.prepare(text)
  statement.setAllowUnknownNamedParameters(true)
  return statement
})
const forgetKey = [
  'DELETE FROM prompts WHERE key_id = ?',
  'DELETE FROM key_uses WHERE key_id = ?',
  // Whatever its person was called by then.
  'UPDATE audit SET person = NULL, key = NULL WHERE key_id = ?',
].map((text) => database.prepare(text))

type Column = (typeof auditColumns)[number]
/** What reads a column of the audit from a row. */
const reader = (column: Column): ((row: Row) => Row[number]) => {
  const at = auditColumns.indexOf(column)
  return (row) => row[at] ?? null
}
const atOf = reader('at')
const keyOf = reader('key_id')
const addressOf = reader('address')
const serviceOf = reader('service')
const statusOf = reader('status')
const inputOf = reader('input_tokens')
const outputOf = reader('output_tokens')
const namesOf = (['tenant', 'person', 'device', 'key', 'model', 'service'] as const).map(reader)

function write({ audit, spending, prompts, forget, keepAuditFrom, now }: Batch): void {
  const gone: Forgotten[] = JSON.parse(forget)
  const [rows, spent, kept]: Row[][] = [audit, spending, prompts].map((text) => JSON.parse(text))
  database.exec('BEGIN IMMEDIATE')
  try {
    for (const row of rows ?? []) insertAudit.run(...row)
    addSums(rows ?? [])
    for (const row of spent ?? []) setSpending.run(...row)
    for (const row of kept ?? []) insertPrompt.run(...row)
    for (const { person, keys } of gone) {
      for (const statement of forgetPerson) statement.run({ person, inPath: encodeURIComponent(person) })
      for (const key of keys) for (const statement of forgetKey) statement.run(key)
    }
    forgetPrompts.run(now)
    if (keepAuditFrom > 0) forgetAudit.run(keepAuditFrom)
    database.exec('COMMIT')
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

interface Sum {
  readonly names: readonly string[]
  requests: number
  input: number
  output: number
}

/** Of a batch many rows are of the same caller, model and day. */
function addSums(rows: readonly Row[]): void {
  const usage = new Map<string, Sum>()
  const uses = new Map<string, { readonly row: Row; first: number; last: number; requests: number }>()
  for (const row of rows) {
    const at = Number(atOf(row))
    if (keyOf(row) !== null) {
      const name = `${keyOf(row)} ${addressOf(row)}`
      const use = uses.get(name) ?? { row, first: at, last: at, requests: 0 }
      use.last = at
      use.requests += 1
      uses.set(name, use)
    }
    const [input, output] = [Number(inputOf(row)), Number(outputOf(row))]
    // What was refused took nothing; what its client left may have.
    if (serviceOf(row) === null || (Number(statusOf(row)) >= 400 && input + output === 0)) continue
    const names = [
      windowsAt(at).tokensPerDay.slice('day:'.length),
      ...namesOf.map((of) => String(of(row) ?? '')),
    ]
    const name = names.join('\n')
    const sum = usage.get(name) ?? { names, requests: 0, input: 0, output: 0 }
    sum.requests += 1
    sum.input += input
    sum.output += output
    usage.set(name, sum)
  }
  for (const { names, requests, input, output } of usage.values())
    addUsage.run(...names, requests, input, output)
  for (const { row, first, last, requests } of uses.values())
    addKeyUse.run(keyOf(row), addressOf(row), first, last, requests)
}

parentPort?.on('message', (batch: Batch | 'close') => {
  if (batch === 'close') {
    database.close()
    parentPort?.close()
    return
  }
  let written: Written = { number: batch.number }
  try {
    write(batch)
  } catch (error) {
    const errcode = error instanceof Error && 'errcode' in error ? error.errcode : undefined
    written = { number: batch.number, error: error instanceof Error ? error.message : String(error), errcode }
  }
  parentPort?.postMessage(written)
})
