/** The gateway's own databases, as earlier versions left them. */
import { copyFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
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
import { migrations as outboxMigrations, openOutbox } from '#federation/outbox.ts'
import { migrations as ledgerMigrations, openLedgerDatabase } from '#ledger/database.ts'
import { readAudit, readSpending, readUsage } from '#ledger/report.ts'
import { migrations as roomMigrations, openRoomDatabase } from '#rooms/database.ts'
import { findMessages } from '#rooms/search.ts'

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
    // The way back, and forth again.
    for (const copy of kept) {
      await copyFile(join(folder, copy), file)
      const again = await openConversationDatabase(file)
      expect(JSON.stringify(await loadConversation(again, 'p1', 'c1'))).toContain('which pot?')
      await again.destroy()
    }
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
})

describe('rooms of an earlier version', () => {
  const rows = {
    '0001-rooms': [
      `INSERT INTO rooms (id, home, remote, name, public, instructions, sequence, changed, state, inviter, created_at, updated_at)
        VALUES ('r1', '', 'r1', 'Garden', 0, '', 1, 1, 'open', '', 1, 1)`,
      `INSERT INTO members VALUES ('r1', 'p1', 'owner', 0, 0, 1)`,
      `INSERT INTO messages (room_id, id, sequence, changed, version, sent_version, known_version, mesh, author, person_id, text, at, deleted, refused, revision)
        VALUES ('r1', 'm1', 1, 1, 1, 1, 1, '', 'ada', 'p1', 'the beans are up', 1, 0, 0, 1)`,
    ],
  }

  it.each(Object.keys(roomMigrations))('as of %s are read and searched', async (last) => {
    const file = join(folder, 'rooms.db')
    await makeAsOf(file, roomMigrations, last, rows)
    const database = await openRoomDatabase(file)
    expect(await findMessages(database, 'p1', 'beans', 10)).toMatchObject([
      { message: { id: 'm1', room_id: 'r1', author: 'ada', text: 'the beans are up' } },
    ])
    await database.destroy()
  })
})

describe('what is on its way to friends, of an earlier version', () => {
  const rows = {
    '0001-outbox': [
      `INSERT INTO peers VALUES ('mesh-1', 'own', 'bob', 7, 6, 3, 4)`,
      `INSERT INTO outbox VALUES ('mesh-1', 5, 'room', '{"text":"hello"}', 16)`,
    ],
  }

  it.each(Object.keys(outboxMigrations))('as of %s goes on where it was', async (last) => {
    const file = join(folder, 'federation.db')
    await makeAsOf(file, outboxMigrations, last, rows)
    const outbox = await openOutbox(file)
    expect(outbox.peers).toEqual([{ meshId: 'mesh-1', name: 'bob', via: 'own' }])
    expect(outbox.row('mesh-1')).toEqual({ epoch: 7, first: 5, next: 6 })
    expect(outbox.taken('mesh-1')).toEqual({ epoch: 3, number: 4 })
    expect(outbox.from('mesh-1', 1, 10)).toEqual([{ number: 5, kind: 'room', body: '{"text":"hello"}' }])
    outbox.close()
  })
})

describe('a database of a newer version', () => {
  const opens = {
    'conversations.db': async (file: string) => (await openConversationDatabase(file)).destroy(),
    'federation.db': async (file: string) => (await openOutbox(file)).close(),
    'ledger.db': async (file: string) => (await openLedgerDatabase(file)).destroy(),
    'rooms.db': async (file: string) => (await openRoomDatabase(file)).destroy(),
  }

  it.each(Object.entries(opens))('is not opened, nor changed: %s', async (name, open) => {
    const file = join(folder, name)
    await open(file)
    putNewer(file)
    const before = await readFile(file)
    await expect(open(file)).rejects.toThrow('brought up to date by Sotto 9.0.0')
    expect(await readFile(file)).toEqual(before)
  })
})
