/** Full text of what was said in rooms, as of conversations: of SQLite's or of PostgreSQL's. */
import { isPostgres } from '@sotto/provisioning/database.ts'
import { sql, type Kysely } from 'kysely'
import { askedFor, partsOf, phraseOf, snippetMarks, snippetWords } from '#conversations/search.ts'
import { createWords, cutSnippet, queryOf } from '#conversations/search-postgres.ts'
import type { SnippetPart } from '#protocol/conversations.ts'
import type { MessageRow, RoomDatabase } from './database.ts'

/** @internal a migration; see `database.ts` */
export async function createMessageSearch<Any>(database: Kysely<Any>): Promise<void> {
  if (isPostgres(database)) return createWords(database, [['messages', 'text']])
  const statements = [
    `CREATE VIRTUAL TABLE message_words USING fts5(text, content = 'messages', content_rowid = 'number',
      tokenize = 'unicode61 remove_diacritics 2')`,
    `CREATE TRIGGER message_words_added AFTER INSERT ON messages BEGIN
      INSERT INTO message_words (rowid, text) VALUES (new.number, new.text); END`,
    `CREATE TRIGGER message_words_removed AFTER DELETE ON messages BEGIN
      INSERT INTO message_words (message_words, rowid, text) VALUES ('delete', old.number, old.text); END`,
    `CREATE TRIGGER message_words_changed AFTER UPDATE OF text ON messages WHEN old.text IS NOT new.text BEGIN
      INSERT INTO message_words (message_words, rowid, text) VALUES ('delete', old.number, old.text);
      INSERT INTO message_words (rowid, text) VALUES (new.number, new.text); END`,
  ]
  for (const statement of statements) await sql.raw(statement).execute(database)
}

/**
 * Messages of a person's rooms that hold each of the words, the last of them perhaps only begun; the newest first. No
 * input is an error: what has no letter or digit in it finds nothing.
 */
export async function findMessages(
  database: RoomDatabase,
  person: string,
  words: string,
  limit: number,
): Promise<{ readonly message: MessageRow; readonly snippet: readonly SnippetPart[] }[]> {
  const asked = askedFor(words)
  if (asked.length === 0) return []
  const postgres = isPostgres(database)
  const every = asked.map(phraseOf).join(' AND ')
  const messages = await database
    .selectFrom('messages')
    .selectAll()
    .where('deleted', '=', 0)
    .where('room_id', 'in', (rooms) =>
      rooms.selectFrom('members').select('room_id').where('person_id', '=', person),
    )
    .where(
      postgres
        ? sql<boolean>`words @@ (${sql.join(asked.map(queryOf), sql` && `)})`
        : sql<boolean>`number IN (SELECT rowid FROM message_words WHERE message_words MATCH ${every})`,
    )
    .orderBy('at', 'desc')
    .orderBy('number', 'desc')
    .limit(limit)
    .execute()
  if (postgres)
    return messages.map((message) => ({ message, snippet: cutSnippet(message.text, asked, snippetWords) }))
  const [begin, end] = snippetMarks
  const snippets = messages.map(async ({ number }) => {
    const { rows } = await sql<{ text: string }>`
      SELECT snippet(message_words, 0, ${begin}, ${end}, '…', ${sql.lit(snippetWords)}) AS text
      FROM message_words WHERE message_words MATCH ${every} AND rowid = ${number}`.execute(database)
    return partsOf(rows[0]?.text ?? '')
  })
  const found = await Promise.all(snippets)
  return messages.map((message, at) => ({ message, snippet: found[at] ?? [] }))
}
