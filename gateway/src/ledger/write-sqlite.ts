/** Batches of the ledger to SQLite, by statements that are prepared once. */
import { DatabaseSync } from 'node:sqlite'
import type { Batch, BatchWriter, Forgotten } from './batch.ts'
import { auditColumns, promptColumns, type Row } from './columns.ts'
import { sumsOf } from './sums.ts'

/** @param file whose tables are up to date */
export function writeSqlite(file: string): BatchWriter {
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
    ['subject', 'window', 'gateway', 'used', 'held'],
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

  const write = ({ audit, spending, prompts, forget, keepAuditFrom, now }: Batch): void => {
    const gone: Forgotten[] = JSON.parse(forget)
    const [rows, spent, kept]: Row[][] = [audit, spending, prompts].map((text) => JSON.parse(text))
    database.exec('BEGIN IMMEDIATE')
    try {
      for (const row of rows ?? []) insertAudit.run(...row)
      const { usage, uses } = sumsOf(rows ?? [])
      for (const { names, requests, input, output } of usage) addUsage.run(...names, requests, input, output)
      for (const { key, address, first, last, requests } of uses)
        addKeyUse.run(key, address, first, last, requests)
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
  return { write, close: () => database.close() }
}
