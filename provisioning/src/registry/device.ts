/**
 * Devices: a key, an address in each range, a person. The address is the identity, so one that is freed is
 * quarantined before another device may have it.
 */
import { randomUUID } from 'node:crypto'
import { sql, type Kysely } from 'kysely'
import { addressesAt, firstNumber, lowestFree, type AddressPair } from '#overlay/addresses.ts'
import { isKey, makePresharedKey } from '#overlay/keys.ts'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { bumpRevision, type Network } from './network.ts'
import type { Person } from './person.ts'

export interface DeviceTable {
  id: string
  person_id: string
  name: string
  public_key: string
  preshared_key: string
  direct_key: string | null
  number: number
  address4: string
  address6: string
  keepalive: number
  created_at: string
  expires_at: string | null
  disabled_at: string | null
  removed_at: string | null
}

export interface Device extends AddressPair {
  readonly id: string
  readonly name: string
  /** The person's name. */
  readonly person: string
  readonly personId: string
  readonly publicKey: string
  readonly presharedKey: string
  /** Of a device that runs `sotto join`: the key of its interface for direct paths; else null. */
  readonly directKey: string | null
  /** Seconds between keepalives of the device; 0 for none. */
  readonly keepalive: number
  /** ISO 8601, as all dates here. */
  readonly createdAt: string
  readonly expiresAt: string | null
  readonly disabledAt: string | null
}

export interface NewDevice {
  readonly name: string
  readonly person: Person
  /** Made on the device, or by us for it; the private half is never stored. */
  readonly publicKey: string
  readonly directKey?: string
  /** Default: `defaultKeepalive`. */
  readonly keepalive?: number
  readonly expiresAt?: Date
}

/** Below the shortest common lifetime of a NAT mapping, so that answers and calls find the device. */
const defaultKeepalive = 25

/** So long that no session, log line or cache still takes a freed address for the device that had it. */
export const quarantineMs = 30 * 86_400_000

/** Letters, digits, dot, dash, underscore and space: safe in file names, comments and terminals. */
const namePattern = /^[\p{L}\p{N}][\p{L}\p{N}._ -]{0,62}$/u

/** Adds a device to the registry; a running gateway takes it up within a second. */
export async function addDevice(
  database: Database,
  network: Network,
  wanted: NewDevice,
  now: Date = new Date(),
): Promise<Device> {
  return database.transaction().execute((transaction) => insertDevice(transaction, network, wanted, now))
}

/** What `addDevice` does, as a part of a larger transaction. */
export async function insertDevice(
  transaction: Database,
  network: Network,
  wanted: NewDevice,
  now: Date,
): Promise<Device> {
  const name = checkName(wanted.name)
  checkKey(wanted.publicKey)
  checkExpiry(wanted.expiresAt, now)
  await checkFree(transaction, { name, keys: [wanted.publicKey, wanted.directKey ?? ''] })
  const row: DeviceTable = {
    id: randomUUID(),
    person_id: wanted.person.id,
    name,
    public_key: wanted.publicKey,
    preshared_key: makePresharedKey(),
    direct_key: wanted.directKey ?? null,
    ...(await freePlace(transaction, network, now)),
    keepalive: checkKeepalive(wanted.keepalive ?? defaultKeepalive),
    created_at: now.toISOString(),
    expires_at: wanted.expiresAt?.toISOString() ?? null,
    disabled_at: null,
    removed_at: null,
  }
  await transaction.insertInto('devices').values(row).execute()
  await bumpRevision(transaction)
  return toDevice({ ...row, person: wanted.person.name })
}

/** A place in the address plan. */
export interface Place extends AddressPair {
  readonly number: number
}

/**
 * The place after the last that was given, and at the end of the range the lowest that no device or open link
 * has, nor had within the quarantine: an address is used again as late as can be. Throws a `Problem` where
 * the range is full; part of the transaction that takes it.
 */
export async function freePlace(database: Database, network: Network, now: Date): Promise<Place> {
  const device = await database
    .selectFrom('devices')
    .select((_) => _.fn.max('number').as('last'))
    .executeTakeFirst()
  const link = await openPlaces(database, now)
    .select((_) => _.fn.max('number').as('last'))
    .executeTakeFirst()
  const next = Math.max(device?.last ?? 0, link?.last ?? 0, firstNumber - 1) + 1
  const number = addressesAt(network, next) ? next : lowestFree(network, await takenNumbers(database, now))
  const addresses = number === undefined ? undefined : addressesAt(network, number)
  if (number !== undefined && addresses) return { number, ...addresses }
  throw new Problem(
    'addresses_exhausted',
    `Every address of ${network.range4} is taken, or was until less than ${quarantineMs / 86_400_000} days ago.`,
    'Remove devices that are no longer used, or start a network with a larger range: `npm start -- --state DIR --range 10.77.0.0/16`.',
  )
}

async function takenNumbers(database: Database, now: Date): Promise<Set<number>> {
  const since = new Date(now.getTime() - quarantineMs).toISOString()
  const devices = await database
    .selectFrom('devices')
    .select('number')
    .where((where) => where.or([where('removed_at', 'is', null), where('removed_at', '>', since)]))
    .execute()
  const links = await openPlaces(database, now).select('number').execute()
  return new Set([...devices, ...links].map((row) => row.number))
}

function openPlaces(database: Database, now: Date) {
  return database.selectFrom('links').where('expires_at', '>', now.toISOString())
}

/** The devices that are in the network, disabled and expired ones too, oldest first. */
export async function listDevices(database: Database): Promise<Device[]> {
  const rows = await database
    .selectFrom('devices')
    .innerJoin('people', 'people.id', 'devices.person_id')
    .selectAll('devices')
    .select('people.name as person')
    .where('removed_at', 'is', null)
    .orderBy('devices.created_at')
    .orderBy('devices.id')
    .execute()
  return rows.map(toDevice)
}

/** Throws a `Problem` where there is none of that name. */
export async function findDevice(database: Database, name: string): Promise<Device> {
  const row = await database
    .selectFrom('devices')
    .innerJoin('people', 'people.id', 'devices.person_id')
    .selectAll('devices')
    .select('people.name as person')
    .where('removed_at', 'is', null)
    .where('devices.name', '=', name.trim().normalize('NFC'))
    .executeTakeFirst()
  if (row) return toDevice(row)
  throw new Problem(
    'device_missing',
    `There is no device named “${name}”.`,
    '`./sotto device list` shows their names.',
  )
}

/** Whether a device may speak now: neither disabled nor past its time. */
export function isAdmitted(
  device: Pick<Device, 'disabledAt' | 'expiresAt'>,
  now: number = Date.now(),
): boolean {
  return device.disabledAt === null && (device.expiresAt === null || Date.parse(device.expiresAt) > now)
}

export async function renameDevice(database: Database, name: string, to: string): Promise<Device> {
  const next = checkName(to)
  return change(database, name, async (transaction, device) => {
    if (next !== device.name) await checkFree(transaction, { name: next, keys: [] })
    return { name: next }
  })
}

/** Its connections end within a second; its keys and addresses stay its own. */
export async function disableDevice(database: Database, name: string): Promise<Device> {
  return change(database, name, (_, device) => ({
    disabled_at: device.disabledAt ?? new Date().toISOString(),
  }))
}

export async function enableDevice(database: Database, name: string): Promise<Device> {
  return change(database, name, () => ({ disabled_at: null }))
}

/** @param at from when on it may speak no more; null for never. A time that has passed ends it now. */
export async function expireDevice(database: Database, name: string, at: Date | null): Promise<Device> {
  return change(database, name, () => ({ expires_at: at?.toISOString() ?? null }))
}

/** Gives a device another key and preshared key; its addresses stay. The old key is of no use at once. */
export async function rotateDevice(database: Database, name: string, publicKey: string): Promise<Device> {
  checkKey(publicKey)
  return change(database, name, async (transaction) => {
    await checkFree(transaction, { keys: [publicKey] })
    // A device that joined makes its keys itself: with a config from us it is one that did not.
    return { public_key: publicKey, preshared_key: makePresharedKey(), direct_key: null }
  })
}

/** Removes a device by name; a running gateway ends its sessions within a second. */
export async function removeDevice(database: Database, name: string): Promise<Device> {
  return change(database, name, () => ({ removed_at: new Date().toISOString(), preshared_key: '' }))
}

async function change(
  database: Database,
  name: string,
  values: (transaction: Database, device: Device) => Partial<DeviceTable> | Promise<Partial<DeviceTable>>,
): Promise<Device> {
  return database.transaction().execute(async (transaction) => {
    const device = await findDevice(transaction, name)
    const row = await transaction
      .updateTable('devices')
      .set(await values(transaction, device))
      .where('id', '=', device.id)
      .returningAll()
      .executeTakeFirstOrThrow()
    await bumpRevision(transaction)
    return toDevice({ ...row, person: device.person })
  })
}

/** @internal the rule that links, too, hold names to */
export async function checkFree(
  database: Database,
  { name, keys }: { readonly name?: string; readonly keys: readonly string[] },
): Promise<void> {
  if (name !== undefined) {
    const same = await database
      .selectFrom('devices')
      .select('id')
      .where('name', '=', name)
      .where('removed_at', 'is', null)
      .executeTakeFirst()
    if (same)
      throw new Problem(
        'device_exists',
        `There is a device named “${name}” already.`,
        'Choose another name, or remove that one first.',
      )
  }
  const used = await database
    .selectFrom('devices')
    .select('id')
    .where((where) => where.or([where('public_key', 'in', keys), where('direct_key', 'in', keys)]))
    .executeTakeFirst()
  if (used)
    throw new Problem(
      'device_key_used',
      'That public key is, or was, another device’s.',
      'Make a new one with `wg genkey | wg pubkey`.',
    )
}

/** @internal the rule that links, too, hold names to */
export function checkName(name: string): string {
  const trimmed = name.trim().normalize('NFC')
  if (!namePattern.test(trimmed))
    throw new Problem(
      'device_name',
      'A device name has 1 to 63 letters, digits, spaces, dots, dashes or underscores, and begins with a letter or digit.',
      'For example: ./sotto device add "Ada phone"',
    )
  return trimmed
}

function checkKey(publicKey: string): void {
  if (!isKey(publicKey))
    throw new Problem(
      'device_key',
      'A WireGuard public key is 32 bytes in base64.',
      'Make one with `wg genkey | wg pubkey`.',
    )
}

/** @internal the rule that links, too, hold devices to */
export function checkExpiry(at: Date | undefined, now: Date): void {
  if (at && at <= now)
    throw new Problem('device_expiry', 'A new device can’t expire in the past.', 'Give a time to come.')
}

function checkKeepalive(seconds: number): number {
  // wg(8): 1 to 65535, or off.
  if (Number.isInteger(seconds) && seconds >= 0 && seconds <= 65_535) return seconds
  throw new Problem('keepalive', 'A keepalive is 0 to 65535 seconds.', 'For example: --keepalive 25')
}

function toDevice(row: DeviceTable & { person: string }): Device {
  return {
    id: row.id,
    name: row.name,
    person: row.person,
    personId: row.person_id,
    publicKey: row.public_key,
    presharedKey: row.preshared_key,
    directKey: row.direct_key,
    address4: row.address4,
    address6: row.address6,
    keepalive: row.keepalive,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    disabledAt: row.disabled_at,
  }
}

/** @internal a migration; see `database.ts` */
export async function createDevices(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('devices')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('person_id', 'text', (column) => column.notNull().references('people.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('public_key', 'text', (column) => column.notNull().unique())
    .addColumn('preshared_key', 'text', (column) => column.notNull())
    .addColumn('direct_key', 'text', (column) => column.unique())
    .addColumn('number', 'integer', (column) => column.notNull())
    .addColumn('address4', 'text', (column) => column.notNull())
    .addColumn('address6', 'text', (column) => column.notNull())
    .addColumn('keepalive', 'integer', (column) => column.notNull())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'text')
    .addColumn('disabled_at', 'text')
    .addColumn('removed_at', 'text')
    .execute()
  await database.schema.createIndex('devices_number').on('devices').column('number').execute()
  // A removed device keeps its row; its name and, after the quarantine, its addresses are free again.
  for (const column of ['name', 'address4', 'address6'] as const)
    await database.schema
      .createIndex(`devices_${column}`)
      .on('devices')
      .column(column)
      .unique()
      .where(sql.ref('removed_at'), 'is', null)
      .execute()
}
