/**
 * Carries stores from files of SQLite's to PostgreSQL: all of them in one transaction, and read back before it is
 * committed. The files are read and nothing else.
 */
import { createHash } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, sql, type Transaction } from 'kysely'
import type { Migration } from 'kysely/migration'
import { Problem } from '../problem.ts'
import { postgresDialect } from './dialect.ts'
import type { PostgresSetting } from './setting.ts'
import { migrate } from './store.ts'

export interface Source {
  readonly file: string
  /** Of PostgreSQL’s. */
  readonly schema: string
  readonly migrations: Record<string, Migration>
}

/** Called with each batch: how many rows of a table are there, of how many. */
export type Moving = (table: string, rows: number, of: number) => void

/** A statement takes 65,535 values, and no table of ours has more than 30 columns. */
const rowsAtOnce = 1_000

type Rows = Transaction<unknown>

/** Resolves to how many rows it carried. Throws a `Problem`, and then there is nothing of it in the target. */
export async function moveStores(
  sources: readonly Source[],
  setting: PostgresSetting,
  moving: Moving,
): Promise<number> {
  const database = new Kysely<unknown>({ dialect: postgresDialect(setting, 'sotto') })
  try {
    return await database.transaction().execute(async (rows) => {
      for (const { schema } of sources) await clear(rows, schema, setting)
      let moved = 0
      for (const source of sources) moved += await moveStore(rows, source, moving)
      return moved
    })
  } finally {
    await database.destroy()
  }
}

async function moveStore(rows: Rows, { file, schema, migrations }: Source, moving: Moving): Promise<number> {
  const source = new DatabaseSync(file, { readOnly: true, timeout: 5_000 })
  try {
    checkVersion(source, file, migrations)
    await sql`SET LOCAL search_path = ${sql.id(schema)}`.execute(rows)
    await migrate(rows, schema, migrations)
    const tables = await tablesOf(rows, schema)
    // A migration may have put rows there, which the file has, too.
    await sql`TRUNCATE ${sql.join(tables.map((table) => sql.table(table)))}`.execute(rows)
    let moved = 0
    for (const table of tables) moved += await moveTable(rows, source, table, moving)
    return moved
  } finally {
    source.close()
  }
}

async function moveTable(rows: Rows, source: DatabaseSync, table: string, moving: Moving): Promise<number> {
  const columns = source
    .prepare(`SELECT name FROM pragma_table_info(?)`)
    .all(table)
    .map(({ name }) => String(name))
  const names = sql.join(columns.map((column) => sql.ref(column)))
  const of = Number(source.prepare(`SELECT count(*) AS count FROM "${table}"`).get()?.count)
  const quoted = columns.map((column) => `"${column}"`).join(', ')
  const statement = source.prepare(`SELECT ${quoted} FROM "${table}" ORDER BY rowid`)
  statement.setReturnArrays(true)
  const [sent, there] = [createTally(), createTally()]
  let batch: (readonly unknown[])[] = []
  const send = async (): Promise<void> => {
    if (batch.length === 0) return
    const lines = batch.map((row) => sql`(${sql.join(row)})`)
    await sql`INSERT INTO ${sql.table(table)} (${names}) VALUES ${sql.join(lines)}`.execute(rows)
    batch = []
    moving(table, sent.count, of)
  }
  for (const row of statement.iterate()) {
    const values: readonly unknown[] = Object.values(row).map(asKept)
    sent.add(values)
    batch.push(values)
    if (batch.length === rowsAtOnce) await send()
  }
  await send()
  await sql`DECLARE back NO SCROLL CURSOR FOR SELECT ${names} FROM ${sql.table(table)}`.execute(rows)
  for (;;) {
    const { rows: read } = await sql<Record<string, unknown>>`FETCH ${sql.lit(rowsAtOnce)} FROM back`.execute(
      rows,
    )
    if (read.length === 0) break
    for (const row of read) there.add(columns.map((column) => row[column]))
  }
  await sql`CLOSE back`.execute(rows)
  if (sent.count !== there.count || sent.digest() !== there.digest())
    throw new Problem(
      'move_differs',
      `What came back of ${table} is not what was sent: ${there.count} of ${sent.count} rows. Nothing was moved.`,
      'Its database must be made with --encoding UTF8.',
    )
  await countOn(rows, table)
  return sent.count
}

/** Rows whatever their order: how many, and the sum of their hashes. */
function createTally() {
  let sum = 0n
  let count = 0
  return {
    get count() {
      return count
    },
    add(row: readonly unknown[]): void {
      count += 1
      sum += BigInt(`0x${createHash('sha256').update(JSON.stringify(row)).digest('hex')}`)
    },
    digest: () => sum,
  }
}

/** As the dialect writes it. */
function asKept(value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll('\0', '\uFFFD') : value
}

/** New rows take the numbers after those that were carried over. */
async function countOn(rows: Rows, table: string): Promise<void> {
  const { rows: counted } = await sql<{ column: string }>`
    SELECT column_name AS column FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = ${table} AND is_identity = 'YES'`.execute(rows)
  for (const { column } of counted)
    await sql`SELECT setval(pg_get_serial_sequence(${table}, ${column}), max(${sql.ref(column)}))
      FROM ${sql.table(table)} HAVING max(${sql.ref(column)}) IS NOT NULL`.execute(rows)
}

/** In the order in which they were made, so that what a row refers to is there before it. */
async function tablesOf(rows: Rows, schema: string): Promise<string[]> {
  const { rows: found } = await sql<{ name: string }>`
    SELECT relname AS name FROM pg_class WHERE relnamespace = to_regnamespace(${schema}) AND relkind = 'r'
    AND relname NOT LIKE 'kysely%' ORDER BY oid`.execute(rows)
  return found.map(({ name }) => name)
}

/** A command that looked in there made its tables: what holds nothing goes. Throws a `Problem` for what does. */
async function clear(rows: Rows, schema: string, setting: PostgresSetting): Promise<void> {
  const tables = await tablesOf(rows, schema)
  // The registry has a tenant before it has a network.
  const telling = schema === 'sotto' ? tables.filter((table) => table === 'network') : tables
  for (const table of telling) {
    const { rows: some } = await sql`SELECT 1 FROM ${sql.id(schema, table)} LIMIT 1`.execute(rows)
    if (some.length > 0)
      throw new Problem(
        'database_taken',
        `The database at ${setting.where} holds something already: ${schema}.${table}.`,
        'Name an empty one: sudo -u postgres createdb --encoding UTF8 --template template0 --owner USER NAME',
      )
  }
  await sql`DROP SCHEMA IF EXISTS ${sql.id(schema)} CASCADE`.execute(rows)
}

function checkVersion(source: DatabaseSync, file: string, wanted: Record<string, Migration>): void {
  const ran = source
    .prepare('SELECT name FROM kysely_migration')
    .all()
    .map(({ name }) => String(name))
  if (ran.length === Object.keys(wanted).length && ran.every((name) => Object.hasOwn(wanted, name))) return
  throw new Problem(
    'move_version',
    `${file} is of another version of Sotto.`,
    'Start this version on it once, without “database” in config.yaml; then move it.',
  )
}
