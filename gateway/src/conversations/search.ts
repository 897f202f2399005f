/**
 * Full text of what was said and of titles. All that is SQLite's own stands here: two FTS5 indexes that triggers
 * keep in step with their tables, and the queries of them. Elsewhere it is another database's business.
 * Source: https://sqlite.org/fts5.html
 */
import { sql, type Kysely } from 'kysely'
import type { SnippetPart } from '#protocol/conversations.ts'
import type { ConversationDatabase } from './database.ts'

/** More narrow a search no further. */
const mostWords = 16
/** Of a snippet, in words. */
export const snippetWords = 24
/** Around what was found; no text of people holds them. */
const begin = '\u0002'
const end = '\u0003'
export const snippetMarks = [begin, end] as const

/** @internal a migration; see `database.ts` */
export async function createSearch<Any>(database: Kysely<Any>): Promise<void> {
  for (const [index, table, column] of [
    ['item_words', 'items', 'text'],
    ['title_words', 'conversations', 'title'],
  ] as const) {
    const statements = [
      `CREATE VIRTUAL TABLE ${index} USING fts5(${column}, content = '${table}', content_rowid = 'number',
        tokenize = 'unicode61 remove_diacritics 2')`,
      `CREATE TRIGGER ${index}_added AFTER INSERT ON ${table} BEGIN
        INSERT INTO ${index} (rowid, ${column}) VALUES (new.number, new.${column}); END`,
      `CREATE TRIGGER ${index}_removed AFTER DELETE ON ${table} BEGIN
        INSERT INTO ${index} (${index}, rowid, ${column}) VALUES ('delete', old.number, old.${column}); END`,
      `CREATE TRIGGER ${index}_changed AFTER UPDATE OF ${column} ON ${table}
        WHEN old.${column} IS NOT new.${column} BEGIN
        INSERT INTO ${index} (${index}, rowid, ${column}) VALUES ('delete', old.number, old.${column});
        INSERT INTO ${index} (rowid, ${column}) VALUES (new.number, new.${column}); END`,
    ]
    for (const statement of statements) await sql.raw(statement).execute(database)
  }
}

/**
 * Conversations of the owner's that hold each of the words, the last of them perhaps only begun, the newest
 * first, and of each family one. No input is an error: what has no letter or digit in it finds nothing.
 */
export async function findConversations(
  database: ConversationDatabase,
  owner: string,
  words: string,
  limit: number,
) {
  const phrases = phrasesOf(words)
  if (phrases.length === 0) return []
  let query = database
    .selectFrom('conversations')
    .selectAll()
    // Of each family the one that was used last.
    .select(({ fn }) =>
      fn
        .agg<number>('row_number')
        .over((over) => over.partitionBy('family').orderBy('updated_at', 'desc').orderBy('id', 'desc'))
        .as('used'),
    )
    .where('owner', '=', owner)
    .where('deleted_at', 'is', null)
  for (const phrase of phrases)
    query = query.where(
      sql<boolean>`(number IN (SELECT rowid FROM title_words WHERE title_words MATCH ${phrase})
        OR id IN (SELECT conversation_id FROM items
          WHERE number IN (SELECT rowid FROM item_words WHERE item_words MATCH ${phrase})))`,
    )
  const found = await database
    .selectFrom(query.as('holding'))
    .selectAll()
    .where('used', '=', 1)
    .orderBy('updated_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
  const any = phrases.join(' OR ')
  const snippets = found.map(async ({ id, number }) => {
    const [item] = await sql<{ text: string }>`
      SELECT snippet(item_words, 0, ${begin}, ${end}, '…', ${sql.lit(snippetWords)}) AS text FROM item_words
      WHERE item_words MATCH ${any} AND rowid IN (SELECT number FROM items WHERE conversation_id = ${id})
      ORDER BY rank LIMIT 1`
      .execute(database)
      .then(({ rows }) => rows)
    if (item) return item.text
    const [title] = await sql<{ text: string }>`
      SELECT highlight(title_words, 0, ${begin}, ${end}) AS text FROM title_words
      WHERE title_words MATCH ${any} AND rowid = ${number}`
      .execute(database)
      .then(({ rows }) => rows)
    return title?.text ?? ''
  })
  const texts = await Promise.all(snippets)
  return found.map((conversation, at) => ({ conversation, snippet: partsOf(texts[at] ?? '') }))
}

/** Each word as a string of FTS5, in which nothing but a quote means anything; a NUL would end the query. */
export function phrasesOf(words: string): string[] {
  const read = words
    .split(/[\s\p{Cc}]+/u)
    .map((word) => word.replaceAll('"', ''))
    .filter((word) => /[\p{L}\p{N}]/u.test(word))
    .slice(0, mostWords)
  return read.map((word, at) => (at === read.length - 1 ? `"${word}"*` : `"${word}"`))
}

export function partsOf(snippet: string): SnippetPart[] {
  return snippet
    .split(new RegExp(`(${begin}[^${end}]*${end})`))
    .filter((text) => text !== '')
    .map((text) =>
      text.startsWith(begin) && text.endsWith(end)
        ? { text: text.slice(1, -1), marked: true }
        : { text, marked: false },
    )
}
