/** API keys, for programs: shown once, kept as a hash, rotated with an overlap, so with more than one secret. */
import { randomUUID } from 'node:crypto'
import ipaddr from 'ipaddr.js'
import { sql, type Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { writeAllowance, type Allowance } from './allowance.ts'
import { checkName, type Device } from './device.ts'
import { bumpRevision } from './network.ts'
import type { Person } from './person.ts'
import { hashSecret, makeSecret } from './secret.ts'

export interface KeyTable {
  id: string
  person_id: string
  name: string
  device_id: string | null
  /** JSON list of CIDR ranges; null for any address. */
  ranges: string | null
  /** Prompts are written down and kept that long; null for never. */
  prompt_log_ms: number | null
  created_at: string
  expires_at: string | null
  disabled_at: string | null
  removed_at: string | null
}

export interface KeySecretTable {
  prefix: string
  key_id: string
  hash: string
  created_at: string
  /** When the overlap of a rotation ends; null for the newest. */
  expires_at: string | null
}

export interface Key {
  readonly id: string
  readonly name: string
  readonly person: string
  readonly personId: string
  /** The one device that may use it; null for any. */
  readonly deviceId: string | null
  /** The addresses from which it may be used, CIDR; null for any. */
  readonly ranges: readonly string[] | null
  readonly promptLogMs: number | null
  /** ISO 8601, as all dates here. */
  readonly createdAt: string
  readonly expiresAt: string | null
  readonly disabledAt: string | null
  readonly secrets: readonly KeySecret[]
}

export interface KeySecret {
  readonly prefix: string
  readonly hash: string
  readonly expiresAt: string | null
}

export interface NewKey {
  readonly name: string
  readonly person: Person
  readonly device?: Pick<Device, 'id'>
  readonly ranges?: readonly string[]
  readonly promptLogMs?: number
  readonly expiresAt?: Date
  readonly allowance?: Partial<Allowance>
}

export interface MadeKey {
  readonly key: Key
  /** Shown now or never. */
  readonly secret: string
}

/** How long the old secret of a rotated key goes on, unless told: time to change it in every program. */
export const defaultOverlapMs = 86_400_000

export async function addKey(database: Database, wanted: NewKey, now: Date = new Date()): Promise<MadeKey> {
  const name = checkName(wanted.name)
  if (wanted.expiresAt && wanted.expiresAt <= now)
    throw new Problem('key_expiry', 'A new key can’t expire in the past.', 'Give a time to come.')
  const ranges = wanted.ranges?.map(checkRange)
  const secret = makeSecret()
  const hash = await hashSecret(secret.text)
  const id = randomUUID()
  await database.transaction().execute(async (transaction) => {
    if (await keyNamed(transaction, name))
      throw new Problem(
        'key_exists',
        `There is a key named “${name}” already.`,
        'Choose another name, or remove that one first.',
      )
    await transaction
      .insertInto('keys')
      .values({
        id,
        person_id: wanted.person.id,
        name,
        device_id: wanted.device?.id ?? null,
        ranges: ranges ? JSON.stringify(ranges) : null,
        prompt_log_ms: wanted.promptLogMs ?? null,
        created_at: now.toISOString(),
        expires_at: wanted.expiresAt?.toISOString() ?? null,
        disabled_at: null,
        removed_at: null,
      })
      .execute()
    await insertSecret(transaction, id, secret.prefix, hash, now)
    if (wanted.allowance) await writeAllowance(transaction, `key:${id}`, wanted.allowance)
    await bumpRevision(transaction)
  })
  return { key: await findKey(database, name), secret: secret.text }
}

/** The keys that are not removed, disabled and expired ones too, oldest first. */
export async function listKeys(database: Database): Promise<Key[]> {
  const rows = await selectKeys(database).orderBy('keys.created_at').orderBy('keys.id').execute()
  const secrets = await database.selectFrom('key_secrets').selectAll().orderBy('created_at').execute()
  return rows.map((row) =>
    toKey(
      row,
      secrets.filter(({ key_id }) => key_id === row.id),
    ),
  )
}

/** Throws a `Problem` where there is none of that name. */
export async function findKey(database: Database, name: string): Promise<Key> {
  const row = await keyNamed(database, name)
  if (!row)
    throw new Problem(
      'key_missing',
      `There is no key named “${name}”.`,
      '`./sotto key list` shows their names.',
    )
  const secrets = await database
    .selectFrom('key_secrets')
    .selectAll()
    .where('key_id', '=', row.id)
    .orderBy('created_at')
    .execute()
  return toKey(row, secrets)
}

/** Gives a key another secret; the ones before go on for the overlap, then end. */
export async function rotateKey(
  database: Database,
  name: string,
  overlapMs: number = defaultOverlapMs,
  now: Date = new Date(),
): Promise<MadeKey> {
  const secret = makeSecret()
  const hash = await hashSecret(secret.text)
  await database.transaction().execute(async (transaction) => {
    const { id } = await findKey(transaction, name)
    const ends = new Date(now.getTime() + overlapMs).toISOString()
    await transaction
      .updateTable('key_secrets')
      .set({ expires_at: ends })
      .where('key_id', '=', id)
      .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', ends)]))
      .execute()
    await insertSecret(transaction, id, secret.prefix, hash, now)
    await bumpRevision(transaction)
  })
  return { key: await findKey(database, name), secret: secret.text }
}

/** What it has open ends within a second. */
export async function setKeyDisabled(database: Database, name: string, disabled: boolean): Promise<Key> {
  return change(database, name, { disabled_at: disabled ? new Date().toISOString() : null })
}

/** @param at from when on it is of no use; null for never */
export async function expireKey(database: Database, name: string, at: Date | null): Promise<Key> {
  return change(database, name, { expires_at: at?.toISOString() ?? null })
}

export async function removeKey(database: Database, name: string): Promise<Key> {
  const key = await findKey(database, name)
  await database.transaction().execute(async (transaction) => {
    await transaction
      .updateTable('keys')
      .set({ removed_at: new Date().toISOString() })
      .where('id', '=', key.id)
      .execute()
    await transaction.deleteFrom('key_secrets').where('key_id', '=', key.id).execute()
    await transaction.deleteFrom('allowances').where('subject', '=', `key:${key.id}`).execute()
    await bumpRevision(transaction)
  })
  return key
}

/** Ends all that a person has; gives their ids, of those that ended before, too. Part of a larger transaction. */
export async function removeKeysOf(database: Database, personId: string): Promise<string[]> {
  await database
    .updateTable('keys')
    .set({ removed_at: new Date().toISOString() })
    .where('person_id', '=', personId)
    .where('removed_at', 'is', null)
    .execute()
  const all = await database.selectFrom('keys').select('id').where('person_id', '=', personId).execute()
  const ids = all.map(({ id }) => id)
  for (const id of ids) {
    await database.deleteFrom('key_secrets').where('key_id', '=', id).execute()
    await database.deleteFrom('allowances').where('subject', '=', `key:${id}`).execute()
  }
  return ids
}

/** Whether a key is of use now: neither disabled nor past its time. */
export function isUsable(key: Pick<Key, 'disabledAt' | 'expiresAt'>, now: number = Date.now()): boolean {
  return key.disabledAt === null && (key.expiresAt === null || Date.parse(key.expiresAt) > now)
}

export type KeyState = 'active' | 'disabled' | 'expired'

/** A key without its hashes: how it is, and the first characters of each secret that is good now. */
export function withoutHashes({ secrets, ...key }: Key, now: number = Date.now()) {
  const good = secrets.filter(({ expiresAt }) => expiresAt === null || Date.parse(expiresAt) > now)
  const usable: KeyState = isUsable(key, now) ? 'active' : 'expired'
  return {
    ...key,
    state: key.disabledAt === null ? usable : ('disabled' as const),
    prefixes: good.map(({ prefix }) => prefix),
  }
}

async function change(database: Database, name: string, values: Partial<KeyTable>): Promise<Key> {
  return database.transaction().execute(async (transaction) => {
    const { id } = await findKey(transaction, name)
    await transaction.updateTable('keys').set(values).where('id', '=', id).execute()
    await bumpRevision(transaction)
    return findKey(transaction, name)
  })
}

function selectKeys(database: Database) {
  return database
    .selectFrom('keys')
    .innerJoin('people', 'people.id', 'keys.person_id')
    .selectAll('keys')
    .select('people.name as person')
    .where('removed_at', 'is', null)
}

async function keyNamed(database: Database, name: string) {
  return selectKeys(database).where('keys.name', '=', name.trim().normalize('NFC')).executeTakeFirst()
}

async function insertSecret(
  database: Database,
  keyId: string,
  prefix: string,
  hash: string,
  now: Date,
): Promise<void> {
  await database
    .insertInto('key_secrets')
    .values({ prefix, key_id: keyId, hash, created_at: now.toISOString(), expires_at: null })
    .execute()
}

function checkRange(range: string): string {
  const cidr = range.includes('/') ? range : `${range}/${range.includes(':') ? 128 : 32}`
  if (ipaddr.isValidCIDR(cidr)) return cidr
  throw new Problem(
    'key_range',
    `“${range}” is no address or range.`,
    'For example: --from 10.77.0.5,10.77.1.0/28',
  )
}

function toKey(row: KeyTable & { person: string }, secrets: readonly KeySecretTable[]): Key {
  return {
    id: row.id,
    name: row.name,
    person: row.person,
    personId: row.person_id,
    deviceId: row.device_id,
    ranges: row.ranges === null ? null : JSON.parse(row.ranges),
    promptLogMs: row.prompt_log_ms,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    disabledAt: row.disabled_at,
    secrets: secrets.map(({ prefix, hash, expires_at }) => ({ prefix, hash, expiresAt: expires_at })),
  }
}

/** @internal a migration; see `database.ts` */
export async function createKeys(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('keys')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('person_id', 'text', (column) => column.notNull().references('people.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('device_id', 'text', (column) => column.references('devices.id'))
    .addColumn('ranges', 'text')
    .addColumn('prompt_log_ms', 'integer')
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'text')
    .addColumn('disabled_at', 'text')
    .addColumn('removed_at', 'text')
    .execute()
  await database.schema
    .createIndex('keys_name')
    .on('keys')
    .column('name')
    .unique()
    .where(sql.ref('removed_at'), 'is', null)
    .execute()
  await database.schema
    .createTable('key_secrets')
    .addColumn('prefix', 'text', (column) => column.primaryKey())
    .addColumn('key_id', 'text', (column) => column.notNull().references('keys.id'))
    .addColumn('hash', 'text', (column) => column.notNull())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'text')
    .execute()
}
