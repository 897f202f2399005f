/**
 * Full text in PostgreSQL, to the same effect as SQLite's FTS5: words are runs of letters and digits, without case and
 * accents, whatever the language. A column that PostgreSQL itself computes holds them.
 * Source: https://www.postgresql.org/docs/current/textsearch.html
 */
import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { SnippetPart } from '#protocol/conversations.ts'

/** A word that is looked for. */
export interface Asked {
  readonly text: string
  /** Perhaps only its beginning. */
  readonly begun: boolean
}

/**
 * Of a text the first 200,000 characters: a vector takes a megabyte. The collation is of Unicode's, since the
 * database's own may know ASCII alone.
 */
const functions = [
  `CREATE FUNCTION folded(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT regexp_replace(
      regexp_replace(lower(normalize(left($1, 200000), NFD) COLLATE "und-x-icu"), '[\\u0300-\\u036f]', '', 'g'),
      '[^[:alnum:]]+', ' ', 'g') $$`,
  `CREATE FUNCTION asked(word text, begun boolean) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN begun AND numnode(query) > 0 THEN (query::text || ':*')::tsquery ELSE query END
    FROM phraseto_tsquery('simple', folded(word)) AS query $$`,
]

/** Part of a migration: a column `words` in each table, of the words in another. */
export async function createWords<Any>(
  database: Kysely<Any>,
  tables: readonly (readonly [table: string, column: string])[],
): Promise<void> {
  for (const text of functions) await sql.raw(text).execute(database)
  for (const [table, column] of tables) {
    await sql`ALTER TABLE ${sql.table(table)} ADD COLUMN words tsvector
      GENERATED ALWAYS AS (to_tsvector('simple', folded(${sql.ref(column)}))) STORED`.execute(database)
    await sql`CREATE INDEX ${sql.id(`${table}_words`)} ON ${sql.table(table)} USING gin (words)`.execute(
      database,
    )
  }
}

export function queryOf({ text, begun }: Asked): RawBuilder<unknown> {
  return sql`asked(${text}, ${begun})`
}

export function queryOfAny(asked: readonly Asked[]): RawBuilder<unknown> {
  return sql`(${sql.join(asked.map(queryOf), sql` || `)})`
}

/**
 * The part of a text that shows the most of what was looked for.
 *
 * @param words how many of the text’s are shown at most
 */
export function cutSnippet(text: string, asked: readonly Asked[], words: number): SnippetPart[] {
  const tokens = Array.from(text.matchAll(wordPattern), ({ 0: word, index }) => ({
    word: fold(word),
    from: index,
    to: index + word.length,
  }))
  const marks = asked.flatMap(({ text: one, begun }) => {
    const parts = Array.from(one.matchAll(wordPattern), ([part]) => fold(part))
    const fits = (at: number): boolean =>
      parts.length > 0 &&
      parts.every((part, offset) => {
        const word = tokens[at + offset]?.word
        return begun && offset === parts.length - 1 ? word?.startsWith(part) === true : word === part
      })
    return tokens.flatMap((_, at) => (fits(at) ? [{ first: at, last: at + parts.length - 1 }] : []))
  })
  const inOrder = marks.toSorted((one, other) => one.first - other.first || other.last - one.last)
  const within = (first: number) => inOrder.filter((mark) => mark.first >= first && mark.last < first + words)
  const fullest = inOrder.reduce(
    (best, { first }) => (within(first).length > within(best).length ? first : best),
    inOrder[0]?.first ?? 0,
  )
  // Some of what stands before, where there is room.
  const seen = (within(fullest).at(-1)?.last ?? fullest) - fullest + 1
  const first = Math.max(0, Math.min(fullest - Math.floor((words - seen) / 2), tokens.length - words))
  const begin = first === 0 ? 0 : (tokens[first]?.from ?? 0)
  const end = first + words >= tokens.length ? text.length : (tokens[first + words - 1]?.to ?? text.length)
  const parts: SnippetPart[] = [{ text: begin > 0 ? '…' : '', marked: false }]
  let at = begin
  for (const mark of within(first)) {
    const [from, to] = [tokens[mark.first]?.from ?? at, tokens[mark.last]?.to ?? at]
    if (from < at) continue
    parts.push({ text: text.slice(at, from), marked: false }, { text: text.slice(from, to), marked: true })
    at = to
  }
  parts.push({ text: text.slice(at, end) + (end < text.length ? '…' : ''), marked: false })
  return parts.filter((part) => part.text !== '')
}

const wordPattern = /[\p{L}\p{N}\p{M}]+/gu

function fold(word: string): string {
  return word.normalize('NFD').replaceAll(/\p{M}/gu, '').toLowerCase()
}
