/** The gateway's own databases, as earlier versions left them. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { connect } from '@sotto/provisioning/database.ts'
import { Kysely, sql, SqliteDialect } from 'kysely'
import { Migrator, type Migration } from 'kysely/migration'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { migrations as conversationMigrations, openConversationDatabase } from '#conversations/database.ts'
import { findConversations } from '#conversations/search.ts'
import { listConversations, loadConversation } from '#conversations/stored.ts'
import { migrations as ledgerMigrations, openLedgerDatabase } from '#ledger/database.ts'
import { readAudit, readSpending, readUsage } from '#ledger/report.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sotto-upgrade-'))
})
afterEach(() => rm(folder, { recursive: true }))

/** A database as a version had it whose last migration was that one, with rows in the words of their time. */
async function makeAsOf(
  file: string,
  migrations: Record<string, Migration>,
  last: string,
  rows: Readonly<Record<string, readonly string[]>>,
): Promise<void> {
  const database = new Kysely<unknown>({ dialect: new SqliteDialect({ database: () => connect(file) }) })
  await sql`PRAGMA synchronous = OFF`.execute(database)
  const migrator = new Migrator({ db: database, provider: { getMigrations: async () => migrations } })
  for (const name of Object.keys(migrations)) {
    const { error } = await migrator.migrateTo(name)
    if (error) throw error
    for (const statement of rows[name] ?? []) await sql.raw(statement).execute(database)
    if (name === last) break
  }
  await database.destroy()
}

function putNewer(file: string): void {
  const database = new DatabaseSync(file)
  database.exec(
    "INSERT INTO kysely_migration VALUES ('9999-tomorrow', '2030-01-01'); PRAGMA user_version = 9000000",
  )
  database.close()
}

describe('conversations of an earlier version', () => {
  const rows = {
    '0001-conversations': [
      `INSERT INTO conversations (id, owner, title, titled, created_at, updated_at, instructions)
        VALUES ('c1', 'p1', 'Tea', 1, 1, 2, '')`,
      `INSERT INTO items (conversation_id, id, position, json, text) VALUES ('c1', 'i1', 1,
        '{"id":"i1","object":"realtime.item","type":"message","role":"user","status":"completed","content":[{"type":"input_text","text":"which pot?"}]}',
        'which pot?')`,
    ],
  }

  it.each(Object.keys(conversationMigrations))('as of %s are listed, found and read', async (last) => {
    const file = join(folder, 'conversations.db')
    await makeAsOf(file, conversationMigrations, last, rows)
    const database = await openConversationDatabase(file)
    const { conversations } = await listConversations(database, 'p1', {})
    expect(conversations).toMatchObject([{ id: 'c1', title: 'Tea' }])
    expect(await findConversations(database, 'p1', 'pot', 10)).toMatchObject([{ conversation: { id: 'c1' } }])
    expect(JSON.stringify(await loadConversation(database, 'p1', 'c1'))).toContain('which pot?')
    await database.destroy()
    const kept = (await readdir(folder)).filter((name) => name.includes('.before-'))
    expect(kept).toHaveLength(last === Object.keys(conversationMigrations).at(-1) ? 0 : 1)
  })

  it('of a newer one are not opened', async () => {
    const file = join(folder, 'conversations.db')
    await (await openConversationDatabase(file)).destroy()
    putNewer(file)
    await expect(openConversationDatabase(file)).rejects.toThrow('brought up to date by Sotto 9.0.0')
  })
})

describe('the ledger of an earlier version', () => {
  const rows = {
    '0001-ledger': [
      `INSERT INTO audit (at, request_id, address, method, path, status, input_tokens, output_tokens, counted, queued_ms, duration_ms, ended)
        VALUES (1000, 'r1', '10.77.0.2', 'POST', '/api/chat', 200, 3, 4, 'upstream', 0, 5, 'whole')`,
      `INSERT INTO usage VALUES ('2026-01-01', 'home', 'ada', 'phone', '', 'llama3.2', 'chat', 1, 3, 4)`,
      `INSERT INTO spending VALUES ('tenant:home', 'total', 7, 2)`,
    ],
  }

  it.each(Object.keys(ledgerMigrations))('as of %s is read', async (last) => {
    const file = join(folder, 'ledger.db')
    await makeAsOf(file, ledgerMigrations, last, rows)
    const database = await openLedgerDatabase(file)
    expect(await readAudit(database, { since: 0, limit: 10 })).toMatchObject([
      { request_id: 'r1', status: 200 },
    ])
    expect(await readUsage(database, 'model', '2026-01-01')).toMatchObject([{ requests: 1 }])
    expect([...(await readSpending(database)).values()]).not.toEqual([])
    await database.destroy()
  })

  it('of a newer one is not opened', async () => {
    const file = join(folder, 'ledger.db')
    await (await openLedgerDatabase(file)).destroy()
    putNewer(file)
    await expect(openLedgerDatabase(file)).rejects.toThrow('brought up to date by Sotto 9.0.0')
  })
})
