/**
 * Full text of what was said and of titles. What is SQLite's own stands here: two FTS5 indexes that triggers keep in
 * step with their tables, and the queries of them; what is PostgreSQL's in `search-postgres.ts`.
 * Source: https://sqlite.org/fts5.html
 */
import { isPostgres } from '@sotto/provisioning/database.ts'
import { sql, type Kysely } from 'kysely'
import type { SnippetPart } from '#protocol/conversations.ts'
import type { ConversationDatabase } from './database.ts'
import { rowColumns } from './stored.ts'
import { createWords, cutSnippet, queryOf, queryOfAny, type Asked } from './search-postgres.ts'

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
  if (isPostgres(database))
    return createWords(database, [
      ['items', 'text'],
      ['conversations', 'title'],
    ])
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
  const asked = askedFor(words)
  if (asked.length === 0) return []
  const postgres = isPostgres(database)
  let query = database
    .selectFrom('conversations')
    .select([...rowColumns, 'number'])
    // Of each family the one that was used last.
    .select(({ fn }) =>
      fn
        .agg<number>('row_number')
        .over((over) => over.partitionBy('family').orderBy('updated_at', 'desc').orderBy('id', 'desc'))
        .as('used'),
    )
    .where('owner', '=', owner)
    .where('deleted_at', 'is', null)
  for (const word of asked)
    query = query.where(
      postgres
        ? sql<boolean>`(words @@ ${queryOf(word)}
            OR id IN (SELECT conversation_id FROM items WHERE words @@ ${queryOf(word)}))`
        : sql<boolean>`(number IN (SELECT rowid FROM title_words WHERE title_words MATCH ${phraseOf(word)})
            OR id IN (SELECT conversation_id FROM items
              WHERE number IN (SELECT rowid FROM item_words WHERE item_words MATCH ${phraseOf(word)})))`,
    )
  const found = await database
    .selectFrom(query.as('holding'))
    .selectAll()
    .where('used', '=', 1)
    .orderBy('updated_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
  const snippetOf = postgres ? snippetInPostgres : snippetInSqlite
  const snippets = await Promise.all(found.map((one) => snippetOf(database, one, asked)))
  return found.map((conversation, at) => ({ conversation, snippet: snippets[at] ?? [] }))
}

interface Holding {
  readonly id: string
  readonly number: number
  readonly title: string
}

/** Of `ts_rank`: among two that hold as much the shorter one. */
const shorterFirst = 1

async function snippetInPostgres(
  database: ConversationDatabase,
  { id, title }: Holding,
  asked: readonly Asked[],
): Promise<SnippetPart[]> {
  const any = queryOfAny(asked)
  const { rows } = await sql<{ text: string }>`
    SELECT text FROM items WHERE conversation_id = ${id} AND words @@ ${any}
    ORDER BY ts_rank(words, ${any}, ${sql.lit(shorterFirst)}) DESC, position LIMIT 1`.execute(database)
  return rows[0] ? cutSnippet(rows[0].text, asked, snippetWords) : cutSnippet(title, asked, Infinity)
}

async function snippetInSqlite(
  database: ConversationDatabase,
  { id, number }: Holding,
  asked: readonly Asked[],
): Promise<SnippetPart[]> {
  const any = asked.map(phraseOf).join(' OR ')
  const [item] = await sql<{ text: string }>`
      SELECT snippet(item_words, 0, ${begin}, ${end}, '…', ${sql.lit(snippetWords)}) AS text FROM item_words
      WHERE item_words MATCH ${any} AND rowid IN (SELECT number FROM items WHERE conversation_id = ${id})
      ORDER BY rank LIMIT 1`
    .execute(database)
    .then(({ rows }) => rows)
  if (item) return partsOf(item.text)
  const [title] = await sql<{ text: string }>`
      SELECT highlight(title_words, 0, ${begin}, ${end}) AS text FROM title_words
      WHERE title_words MATCH ${any} AND rowid = ${number}`
    .execute(database)
    .then(({ rows }) => rows)
  return partsOf(title?.text ?? '')
}

/** Those with a letter or digit in them; the last perhaps only begun. */
export function askedFor(words: string): Asked[] {
  const read = words
    .split(/[\s\p{Cc}]+/u)
    .map((word) => word.replaceAll('"', ''))
    .filter((word) => /[\p{L}\p{N}]/u.test(word))
    .slice(0, mostWords)
  return read.map((text, at) => ({ text, begun: at === read.length - 1 }))
}

/** As a string of FTS5, in which nothing but a quote means anything; a NUL would end the query. */
export function phraseOf({ text, begun }: Asked): string {
  return begun ? `"${text}"*` : `"${text}"`
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
