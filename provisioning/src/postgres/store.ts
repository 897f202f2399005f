/** A store in PostgreSQL: its schema, made and brought up to date by the same migrations as SQLite's tables. */
import { HandleEmptyInListsPlugin, Kysely, replaceWithNoncontingentExpression, sql } from 'kysely'
import { Migrator, type Migration } from 'kysely/migration'
import { Problem } from '../problem.ts'
import { ownVersion } from '../upgrade.ts'
import { postgresDialect } from './dialect.ts'
import type { PostgresSetting } from './setting.ts'

/** Throws a `Problem`. */
export async function openPostgres<Tables>(
  setting: PostgresSetting,
  schema: string,
  wanted: Record<string, Migration>,
): Promise<Kysely<Tables>> {
  const database = new Kysely<Tables>({
    dialect: postgresDialect(setting, schema),
    // `IN ()` is nothing to SQLite, and an error here.
    plugins: [new HandleEmptyInListsPlugin({ strategy: replaceWithNoncontingentExpression })],
  })
  try {
    const ran = await readRan(database, schema)
    const unknown = ran.find((name) => !Object.hasOwn(wanted, name))
    if (unknown !== undefined) throw await newer(database, setting, schema, unknown)
    if (ran.length < Object.keys(wanted).length) await bringUpToDate(setting, schema, wanted)
    return database
  } catch (error) {
    await database.destroy()
    if (error instanceof Problem) throw error
    throw new Problem(
      'database_unusable',
      `The tables of ${schema} at ${setting.where} can’t be made or brought up to date: ${error instanceof Error ? error.message : String(error)}.`,
      'Let its user make schemas there: sudo -u postgres psql --command "GRANT CREATE ON DATABASE name TO user"',
      error,
    )
  }
}

async function bringUpToDate(
  setting: PostgresSetting,
  schema: string,
  wanted: Record<string, Migration>,
): Promise<void> {
  const database = new Kysely<unknown>({ dialect: postgresDialect(setting, schema, true) })
  try {
    await database.transaction().execute((transaction) => migrate(transaction, schema, wanted))
  } finally {
    await database.destroy()
  }
}

/** Makes the schema and all that is missing in it: part of a transaction, so all or nothing. */
export async function migrate<Any>(
  transaction: Kysely<Any>,
  schema: string,
  wanted: Record<string, Migration>,
): Promise<void> {
  await transaction.schema.createSchema(schema).ifNotExists().execute()
  const migrator = new Migrator({
    db: transaction,
    provider: { getMigrations: async () => wanted },
    migrationTableSchema: schema,
  })
  const { error } = await migrator.migrateToLatest()
  if (error) throw error
  await sql`COMMENT ON SCHEMA ${sql.id(schema)} IS ${sql.lit(`Sotto ${ownVersion}`)}`.execute(transaction)
}

async function readRan<Any>(database: Kysely<Any>, schema: string): Promise<readonly string[]> {
  const { rows } = await sql<{ there: boolean }>`
    SELECT to_regclass(${`${schema}.kysely_migration`}) IS NOT NULL AS there`.execute(database)
  if (rows[0]?.there !== true) return []
  const ran = await sql<{ name: string }>`SELECT name FROM kysely_migration`.execute(database)
  return ran.rows.map(({ name }) => name)
}

async function newer<Any>(
  database: Kysely<Any>,
  setting: PostgresSetting,
  schema: string,
  unknown: string,
): Promise<Problem> {
  const { rows } = await sql<{ by: string | null }>`
    SELECT obj_description(to_regnamespace(${schema}), 'pg_namespace') AS by`.execute(database)
  const by = rows[0]?.by ?? 'a later version'
  return new Problem(
    'database_newer',
    `${schema} at ${setting.where} was brought up to date by ${by}, and this is ${ownVersion}: it does not know “${unknown}”.`,
    `Use ${by} or later, or restore the dump of before the upgrade.`,
  )
}
