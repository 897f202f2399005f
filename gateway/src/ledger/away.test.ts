/** A ledger whose PostgreSQL is away when its gateway ends. Which database is there again later makes no difference. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openLedgerDatabase } from './database.ts'
import { createLedger, type AuditRow } from './ledger.ts'
import { readAudit } from './report.ts'

it('what was taken is in the ledger when a later process finds the database', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sotto-away-'))
  const [file, config] = [join(folder, 'ledger.db'), join(folder, 'config.yaml')]
  const errors: unknown[] = []
  const open = () =>
    createLedger({
      gateway: 'test',
      file,
      keepMs: 86_400_000,
      log: { error: (what: unknown) => errors.push(what) },
    })
  try {
    // Where nothing listens.
    await writeFile(config, 'database: postgres://127.0.0.1:9/away\n')
    const first = open()
    for (const id of ['one', 'two']) first.record(row(id))
    await expect(first.flush()).rejects.toThrow('can’t be used')
    expect([first.healthy(), first.away()]).toEqual([false, true])
    first.record(row('three'))
    await first.close()
    expect(await readdir(folder)).toContain('ledger.db.waiting')
    await rm(config)
    await (await openLedgerDatabase(file)).destroy()
    const second = open()
    await second.flush()
    expect(second.healthy()).toBe(true)
    await second.close()
    expect(await readdir(folder)).not.toContain('ledger.db.waiting')
    const database = await openLedgerDatabase(file)
    const kept = await readAudit(database, { limit: 10 })
    await database.destroy()
    expect(kept.map(({ request_id }) => request_id).toSorted()).toEqual(['one', 'three', 'two'])
  } finally {
    await rm(folder, { recursive: true })
  }
})

function row(request_id: string): AuditRow {
  return {
    at: Date.now(),
    request_id,
    address: '10.77.0.2',
    method: 'POST',
    path: '/api/chat',
    status: 200,
    input_tokens: 5,
    output_tokens: 3,
    counted: 'upstream',
    queued_ms: 0,
    duration_ms: 90,
    ended: 'whole',
  }
}
