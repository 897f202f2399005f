/** What is so of the conversations’ file, and of no other database. */
import { cp, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, it, vi } from 'vitest'
import type { Item } from '#protocol/events.ts'
import type { Conversations } from './conversations.ts'
import { answered, openScratch, said } from './open.fixture.ts'

/** Written, and closed again. */
async function talk(conversations: Conversations, ...items: Item[]): Promise<string> {
  const thread = await conversations.open('ada')
  for (const item of items) thread.put(item)
  await thread.flush()
  thread.leave()
  return thread.id
}

it('is whole in a copy of its files taken after a flush, as after a crash, in files of their owner alone', async () => {
  const { conversations, folder, file } = await openScratch()
  const thread = await conversations.open('ada')
  thread.put(said('kept'))
  thread.put(answered('not yet', { status: 'in_progress' }))
  await thread.flush()
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const copy = await mkdtemp(join(tmpdir(), 'sotto-copy-'))
  try {
    await cp(folder, copy, { recursive: true })
    const after = await openScratch(copy)
    expect((await after.conversations.read('ada', thread.id)).items).toMatchObject([
      { content: [{ text: 'kept' }] },
    ])
    expect(await after.conversations.search('ada', 'kept')).toHaveLength(1)
    await after.conversations.close()
  } finally {
    await rm(copy, { recursive: true })
  }
})

it('what an earlier version kept is there after an update', async () => {
  const first = await openScratch()
  const id = await talk(first.conversations, said('from before'))
  await first.conversations.close()
  const before = new DatabaseSync(first.file)
  before.exec(`DROP INDEX conversations_listed; DROP INDEX conversations_family;
    ALTER TABLE conversations DROP COLUMN pinned; ALTER TABLE conversations DROP COLUMN family;
    CREATE INDEX conversations_newest ON conversations (owner, updated_at, id);
    DELETE FROM kysely_migration WHERE name > '0001-conversations'`)
  before.close()
  const { conversations } = await openScratch(first.folder)
  expect((await conversations.list('ada')).conversations).toMatchObject([{ id, family: id, pinned: false }])
  expect(await conversations.search('ada', 'before')).toMatchObject([{ id }])
})

it('words of what is gone for good are gone from the index', async () => {
  const first = await openScratch()
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
  const id = await talk(first.conversations, said('secret plan'))
  await first.conversations.delete('ada', id)
  await first.conversations.close()
  vi.setSystemTime(Date.now() + 31 * 86_400_000)
  const { conversations, file } = await openScratch(first.folder)
  await conversations.close()
  vi.useRealTimers()
  const database = new DatabaseSync(file)
  expect(database.prepare('SELECT conversation_id FROM items').all()).toEqual([])
  for (const index of ['item_words', 'title_words'])
    expect(() =>
      database.exec(`INSERT INTO ${index} (${index}, rank) VALUES ('integrity-check', 1)`),
    ).not.toThrow()
  database.close()
})

it('the list is found by an index, in its order', async () => {
  const { conversations, file } = await openScratch()
  await talk(conversations, said('hello'))
  const database = new DatabaseSync(file, { readOnly: true })
  const plan = database
    .prepare(
      `EXPLAIN QUERY PLAN SELECT * FROM conversations WHERE owner = ? AND deleted_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM conversations AS other WHERE other.family = conversations.family
          AND (other.updated_at, other.id) > (conversations.updated_at, conversations.id))
        AND (pinned, updated_at, id) < (?, ?, ?)
        ORDER BY pinned DESC, updated_at DESC, id DESC LIMIT 50`,
    )
    .all('ada', 0, 1, '')
  database.close()
  const details = plan.map(({ detail }) => detail)
  expect(details.join('\n')).not.toMatch(/SCAN|TEMP B-TREE/)
  expect(details[0]).toMatch(/^SEARCH conversations USING INDEX conversations_listed/)
})
