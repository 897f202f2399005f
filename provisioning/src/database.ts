/** The database: one file, SQLite, through Kysely, so that PostgreSQL can take its place. */
import { chmod } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, sql, SqliteDialect } from 'kysely'
import type { Migration } from 'kysely/migration'
import { Problem } from './problem.ts'
import { type AllowanceTable, createAllowances } from './registry/allowance.ts'
import { type DeviceTable, createDevices } from './registry/device.ts'
import { type KeySecretTable, type KeyTable, createKeys } from './registry/key.ts'
import { type LinkTable, createLinks } from './registry/link.ts'
import { type NetworkTable, createNetwork } from './registry/network.ts'
import { type PathTable, createPaths } from './registry/path.ts'
import { type PersonTable, createPeople } from './registry/person.ts'
import { type RuleTable, createRules } from './registry/rule.ts'
import { type TenantTable, createTenants } from './registry/tenant.ts'
import { type TrafficTable, createTraffic } from './registry/traffic.ts'

export interface Tables {
  network: NetworkTable
  people: PersonTable
  devices: DeviceTable
  links: LinkTable
  rules: RuleTable
  traffic: TrafficTable
  paths: PathTable
  tenants: TenantTable
  keys: KeyTable
  key_secrets: KeySecretTable
  allowances: AllowanceTable
}

export type Database = Kysely<Tables>

/** Each runs once, in the order of its name. One that has been released is never changed again. */
const migrations: Record<string, Migration> = {
  '0001-network': { up: createNetwork },
  '0002-people': { up: createPeople },
  '0003-devices': { up: createDevices },
  '0004-links': { up: createLinks },
  '0005-rules': { up: createRules },
  '0006-traffic': { up: createTraffic },
  '0007-paths': { up: createPaths },
  '0008-tenants': { up: createTenants },
  '0009-keys': { up: createKeys },
  '0010-allowances': { up: createAllowances },
}

/** Opens the file, making it and bringing its tables up to date where needed. */
export async function openDatabase(file: string): Promise<Database> {
  const database = new Kysely<Tables>({ dialect: new SqliteDialect({ database: () => connect(file) }) })
  await migrate(database, file, migrations)
  await chmod(file, 0o600)
  return database
}

/** Brings the tables up to date, or closes the database and throws a `Problem`. */
export async function migrate<Any>(
  database: Kysely<Any>,
  file: string,
  wanted: Record<string, Migration>,
): Promise<void> {
  if (await isUpToDate(database, Object.keys(wanted))) return
  // Only now: each command opens the database, and hardly any finds it old.
  const { Migrator } = await import('kysely/migration')
  const migrator = new Migrator({ db: database, provider: { getMigrations: async () => wanted } })
  const { error } = await migrator.migrateToLatest()
  if (!error) return
  await database.destroy()
  throw new Problem(
    'database_unusable',
    `The database ${file} can't be opened or brought up to date.`,
    'Restore it from a backup, or start anew with --state DIR.',
    error,
  )
}

/** Whether exactly these have run; a database that can’t be asked is left to the migrator, which says what is wrong. */
async function isUpToDate<Any>(database: Kysely<Any>, names: readonly string[]): Promise<boolean> {
  const ran = await sql<{ name: string }>`SELECT name FROM kysely_migration`.execute(database).then(
    ({ rows }) => new Set(rows.map(({ name }) => name)),
    () => new Set(),
  )
  return ran.size === names.length && names.every((name) => ran.has(name))
}

/** A connection as Kysely's SQLite dialect takes it. */
export async function connect(file: string) {
  const sqlite = new DatabaseSync(file, { timeout: 5_000 })
  // FULL: an acknowledged change outlives a power cut.
  sqlite.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
  return {
    close: () => sqlite.close(),
    prepare(text: string) {
      // Else one that reads first and then writes fails at once where another process wrote in between.
      const statement = sqlite.prepare(text === 'begin' ? 'begin immediate' : text)
      return {
        reader: statement.columns().length > 0,
        all: (parameters: readonly unknown[]) => statement.all(...values(parameters)),
        run: (parameters: readonly unknown[]) => statement.run(...values(parameters)),
        iterate: (parameters: readonly unknown[]) => statement.iterate(...values(parameters)),
      }
    },
  }
}

/** Kysely's parameters as `node:sqlite` takes them. */
function values(parameters: readonly unknown[]): (string | number | bigint | null)[] {
  return parameters.map((value) => {
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint')
      return value
    throw new TypeError(`SQLite takes no ${typeof value}.`)
  })
}
