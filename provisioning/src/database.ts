/** The database: one file, SQLite, through Kysely; or, where `database` of config.yaml says so, PostgreSQL. */
import { chmod } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, PostgresAdapter, sql, SqliteDialect } from 'kysely'
import type { Migration } from 'kysely/migration'
import { readSetting } from './postgres/setting.ts'
import { Problem } from './problem.ts'
import { type AccountTable, createAccounts } from './registry/account.ts'
import { type AccountLinkTable, createAccountLinks } from './registry/account-link.ts'
import { type AllowanceTable, createAllowances } from './registry/allowance.ts'
import {
  type AdminCodeTable,
  type AdminPasswordTable,
  type ConfirmationTable,
  createConfirmations,
} from './registry/confirmation.ts'
import { type DeviceTable, createDevices } from './registry/device.ts'
import { createFriends, type FriendTable, type OwnMeshTable } from './registry/friend.ts'
import { createGrants, type GrantTable } from './registry/grant.ts'
import { type KeySecretTable, type KeyTable, createKeys } from './registry/key.ts'
import { createLenders, type LenderTable } from './registry/lender.ts'
import { type LinkTable, createLinks, letLinksEndDevices } from './registry/link.ts'
import { createMails, type MailTable } from './registry/mail.ts'
import { createMeshes, type MeshInvitationTable, type MeshTable } from './registry/mesh.ts'
import { type NetworkTable, createNetwork } from './registry/network.ts'
import { createPasskeys, type PasskeyTable } from './registry/passkey.ts'
import { type PathTable, createPaths } from './registry/path.ts'
import { type PersonTable, createPeople, letPeopleGo } from './registry/person.ts'
import { type RuleTable, createRules } from './registry/rule.ts'
import { createSessions, type KnownBrowserTable, type SessionTable } from './registry/session.ts'
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
  lenders: LenderTable
  admin_codes: AdminCodeTable
  admin_password: AdminPasswordTable
  confirmations: ConfirmationTable
  accounts: AccountTable
  account_links: AccountLinkTable
  passkeys: PasskeyTable
  sessions: SessionTable
  known_browsers: KnownBrowserTable
  mails: MailTable
  meshes: MeshTable
  mesh_invitations: MeshInvitationTable
  friends: FriendTable
  own_mesh: OwnMeshTable
  grants: GrantTable
}

export type Database = Kysely<Tables>

/** Each runs once, in the order of its name. One that has been released is never changed again. */
export const migrations: Record<string, Migration> = {
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
  '0011-confirmations': { up: createConfirmations },
  '0012-people-go': { up: letPeopleGo },
  '0013-links-end-devices': { up: letLinksEndDevices },
  '0014-lenders': { up: createLenders },
  '0015-meshes': { up: createMeshes },
  '0016-friends': { up: createFriends },
  '0017-accounts': { up: createAccounts },
  '0018-account-links': { up: createAccountLinks },
  '0019-account-passkeys': { up: createPasskeys },
  '0020-account-sessions': { up: createSessions },
  '0021-account-mails': { up: createMails },
  '0022-grants': { up: createGrants },
}

/** Opens the file, making it and bringing its tables up to date where needed; see `openStore`. */
export function openDatabase(file: string): Promise<Database> {
  return openStore<Tables>(file, migrations)
}

/**
 * Opens a store by its file. Where `database` of the config.yaml beside it says so, PostgreSQL holds it instead, in a
 * schema of the file's name. Throws a `Problem`, `database_away` where PostgreSQL can't be used.
 */
export async function openStore<StoreTables>(
  file: string,
  wanted: Record<string, Migration>,
): Promise<Kysely<StoreTables>> {
  const setting = await readSetting(dirname(file))
  if (setting) {
    const { openPostgres } = await import('./postgres/store.ts')
    return openPostgres(setting, schemaOf(file), wanted)
  }
  const database = new Kysely<StoreTables>({ dialect: new SqliteDialect({ database: () => connect(file) }) })
  await migrate(database, file, wanted)
  await chmod(file, 0o600)
  return database
}

/** For the few queries that differ. */
export function isPostgres<Any>(database: Kysely<Any>): boolean {
  return database.getExecutor().adapter instanceof PostgresAdapter
}

/** `sotto`, `sotto_ledger`, … */
export function schemaOf(file: string): string {
  const name = basename(file, '.db')
  return name === 'sotto' ? name : `sotto_${name}`
}

/**
 * Brings the tables up to date, all or none, and keeps a copy of what was there before. Else closes the database
 * and throws a `Problem`.
 */
export async function migrate<Any>(
  database: Kysely<Any>,
  file: string,
  wanted: Record<string, Migration>,
): Promise<void> {
  const ran = await readMigrations(database)
  const unknown = ran.find((name) => !Object.hasOwn(wanted, name))
  if (unknown === undefined && ran.length === Object.keys(wanted).length) return
  try {
    // Only now: each command opens the database, and hardly any finds it old.
    await upgrade(database, file, wanted, { ran: ran.length, unknown })
  } catch (error) {
    await database.destroy()
    if (error instanceof Problem) throw error
    throw new Problem(
      'database_unusable',
      `The database ${file} can't be opened or brought up to date.`,
      'Restore it from a backup, or start anew with --state DIR.',
      error,
    )
  }
}

async function upgrade<Any>(
  database: Kysely<Any>,
  file: string,
  wanted: Record<string, Migration>,
  { ran, unknown }: { readonly ran: number; readonly unknown: string | undefined },
): Promise<void> {
  const { keepCopy, newerDatabase, ownUserVersion } = await import('./upgrade.ts')
  if (unknown !== undefined) {
    const { rows } = await sql<{ user_version: number }>`PRAGMA user_version`.execute(database)
    throw newerDatabase(file, unknown, rows[0]?.user_version ?? 0)
  }
  if (ran > 0) keepCopy(file, ran)
  const { Migrator } = await import('kysely/migration')
  // SQLite's tables change within transactions (sqlite.org/lang_transaction.html); Kysely is made not to rely on it.
  Object.defineProperty(database.getExecutor().adapter, 'supportsTransactionalDdl', { value: true })
  await database.transaction().execute(async (transaction) => {
    const migrator = new Migrator({ db: transaction, provider: { getMigrations: async () => wanted } })
    const { error } = await migrator.migrateToLatest()
    if (error) throw error
    await sql.raw(`PRAGMA user_version = ${ownUserVersion()}`).execute(transaction)
  })
}

/** Names of those that have run; none where the database can’t be asked: the migrator says what is wrong. */
async function readMigrations<Any>(database: Kysely<Any>): Promise<readonly string[]> {
  return sql<{ name: string }>`SELECT name FROM kysely_migration`.execute(database).then(
    ({ rows }) => rows.map(({ name }) => name),
    () => [],
  )
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
