/** Sessions of accounts: a browser in which a person signed in. Of its token only a hash is kept. */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { latest } from './ahead.ts'
import { hashToken, makeToken } from './secret.ts'
import type { Tenant } from './tenant.ts'

export interface SessionTable {
  id: string
  token_hash: string
  person_id: string
  /** From which it was opened. */
  address: string
  /** What the browser says of itself. */
  agent: string
  created_at: string
  used_at: string
  /** When its person last showed who they are: at signing in, or after. */
  proved_at: string
}

/** Browsers that somebody has signed in with: guesses of strangers do not slow them down. */
export interface KnownBrowserTable {
  token_hash: string
  person_id: string
  used_at: string
}

export interface Session {
  readonly id: string
  readonly personId: string
  readonly person: string
  readonly tenant: Tenant
  /** ISO 8601, as all dates here. */
  readonly createdAt: string
  readonly usedAt: string
  readonly provedAt: string
  readonly address: string
  readonly agent: string
}

/** A browser that lies about for a week signs in again. */
const idleMs = 7 * 86_400_000
/** However busy it is. */
export const longestSessionMs = 30 * 86_400_000
/** A known browser that is not used for half a year is known no more. */
export const knownMs = 180 * 86_400_000
/** More than anybody has browsers; the ones used longest ago make room. */
const maxPerPerson = 20
/** That it was used is written down once in so long. */
const touchEveryMs = 60_000
const maxAgent = 200

/** Gives the token, for the browser alone. */
export async function openSession(
  database: Database,
  { personId, address, agent }: { personId: string; address: string; agent: string },
  now: Date = new Date(),
): Promise<{ readonly id: string; readonly token: string }> {
  const token = makeToken()
  const id = randomUUID()
  const at = now.toISOString()
  await database.transaction().execute(async (transaction) => {
    await transaction.deleteFrom('sessions').where('used_at', '<', ago(now, idleMs)).execute()
    const others = await transaction
      .selectFrom('sessions')
      .select('id')
      .where('person_id', '=', personId)
      .orderBy('used_at', 'desc')
      .execute()
    for (const old of others.slice(maxPerPerson - 1))
      await transaction.deleteFrom('sessions').where('id', '=', old.id).execute()
    await transaction
      .insertInto('sessions')
      .values({
        id,
        token_hash: hashToken(token),
        person_id: personId,
        address,
        agent: agent.slice(0, maxAgent),
        created_at: at,
        used_at: at,
        proved_at: at,
      })
      .execute()
  })
  return { id, token }
}

/** The session of a token; undefined where it is none, or no more. That it was used puts its end off. */
export async function readSession(
  database: Database,
  token: string,
  now: Date = new Date(),
): Promise<Session | undefined> {
  const row = await selectSessions(database, now)
    .where('token_hash', '=', hashToken(token))
    .executeTakeFirst()
  if (!row) return undefined
  if (Date.parse(row.used_at) < now.getTime() - touchEveryMs)
    await database
      .updateTable('sessions')
      .set({ used_at: now.toISOString() })
      .where('id', '=', row.id)
      .execute()
  return toSession(row)
}

/** A person’s, the one that was used last first. */
export async function listSessions(
  database: Database,
  personId: string,
  now: Date = new Date(),
): Promise<Session[]> {
  const rows = await selectSessions(database, now)
    .where('person_id', '=', personId)
    .orderBy('used_at', 'desc')
    .execute()
  return rows.map(toSession)
}

/** Writes down that its person showed again who they are. */
export async function proveSession(database: Database, id: string, now: Date = new Date()): Promise<void> {
  await database.updateTable('sessions').set({ proved_at: now.toISOString() }).where('id', '=', id).execute()
}

/** Whether there was one of the person’s. */
export async function endSession(database: Database, personId: string, id: string): Promise<boolean> {
  const gone = await database
    .deleteFrom('sessions')
    .where('person_id', '=', personId)
    .where('id', '=', id)
    .returning('id')
    .execute()
  return gone.length > 0
}

/** @param but id of the one that stays */
export async function endSessions(database: Database, personId: string, but = ''): Promise<void> {
  await database.deleteFrom('sessions').where('person_id', '=', personId).where('id', '!=', but).execute()
}

/** Gives what a browser keeps to be known by from now on. */
export async function knowBrowser(
  database: Database,
  personId: string,
  now: Date = new Date(),
): Promise<string> {
  const token = makeToken()
  await database.deleteFrom('known_browsers').where('used_at', '<', ago(now, knownMs)).execute()
  const others = await database
    .selectFrom('known_browsers')
    .select('token_hash')
    .where('person_id', '=', personId)
    .orderBy('used_at', 'desc')
    .execute()
  for (const old of others.slice(maxPerPerson - 1))
    await database.deleteFrom('known_browsers').where('token_hash', '=', old.token_hash).execute()
  await database
    .insertInto('known_browsers')
    .values({ token_hash: hashToken(token), person_id: personId, used_at: now.toISOString() })
    .execute()
  return token
}

/** Whether that person signed in with this browser before. */
export async function isKnownBrowser(
  database: Database,
  personId: string,
  token: string,
  now: Date = new Date(),
): Promise<boolean> {
  const known = await database
    .selectFrom('known_browsers')
    .select('token_hash')
    .where('token_hash', '=', hashToken(token))
    .where('person_id', '=', personId)
    .where('used_at', '>', ago(now, knownMs))
    .executeTakeFirst()
  return known !== undefined
}

function selectSessions(database: Database, now: Date) {
  return database
    .selectFrom('sessions')
    .innerJoin('people', 'people.id', 'sessions.person_id')
    .innerJoin('tenants', 'tenants.id', 'people.tenant_id')
    .selectAll('sessions')
    .select([
      'people.name as person',
      'tenants.id as tenant_id',
      'tenants.name as tenant',
      'tenants.disabled_at as tenant_disabled_at',
    ])
    .where('left_at', 'is', null)
    .where('sessions.used_at', '>', ago(now, idleMs))
    .where('sessions.created_at', '>', ago(now, longestSessionMs))
    .where('sessions.created_at', '<=', latest(now))
    .where('sessions.used_at', '<=', latest(now))
}

function ago(now: Date, ms: number): string {
  return new Date(now.getTime() - ms).toISOString()
}

interface SessionRow extends SessionTable {
  readonly person: string
  readonly tenant_id: string
  readonly tenant: string
  readonly tenant_disabled_at: string | null
}

function toSession(row: SessionRow): Session {
  return {
    id: row.id,
    personId: row.person_id,
    person: row.person,
    tenant: { id: row.tenant_id, name: row.tenant, disabledAt: row.tenant_disabled_at },
    createdAt: row.created_at,
    usedAt: row.used_at,
    provedAt: row.proved_at,
    address: row.address,
    agent: row.agent,
  }
}

/** @internal a migration; see `database.ts` */
export async function createSessions(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('sessions')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('token_hash', 'text', (column) => column.notNull().unique())
    .addColumn('person_id', 'text', (column) => column.notNull().references('people.id'))
    .addColumn('address', 'text', (column) => column.notNull())
    .addColumn('agent', 'text', (column) => column.notNull())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('used_at', 'text', (column) => column.notNull())
    .addColumn('proved_at', 'text', (column) => column.notNull())
    .execute()
  await database.schema
    .createTable('known_browsers')
    .addColumn('token_hash', 'text', (column) => column.primaryKey())
    .addColumn('person_id', 'text', (column) => column.notNull().references('people.id'))
    .addColumn('used_at', 'text', (column) => column.notNull())
    .execute()
}
