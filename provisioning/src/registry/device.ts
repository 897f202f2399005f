/** Devices: a key, an address in each range, a person. The address is the identity, so it is never handed on. */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import { nextAddresses } from '#overlay/addresses.ts'
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
  address4: string
  address6: string
  created_at: string
  removed_at: string | null
}

export interface Device {
  readonly id: string
  readonly name: string
  /** The person's name. */
  readonly person: string
  readonly publicKey: string
  readonly presharedKey: string
  readonly address4: string
  readonly address6: string
  readonly createdAt: string
}

export interface NewDevice {
  readonly name: string
  readonly person: Person
  /** Made on the device, or by us for it; the private half is never stored. */
  readonly publicKey: string
}

/** Letters, digits, dot, dash, underscore and space: safe in file names, comments and terminals. */
const namePattern = /^[\p{L}\p{N}][\p{L}\p{N}._ -]{0,62}$/u

/** Adds a device to the registry; a running gateway takes it up within a second. */
export async function addDevice(database: Database, network: Network, wanted: NewDevice): Promise<Device> {
  const name = checkName(wanted.name)
  if (!isKey(wanted.publicKey))
    throw new Problem(
      'device_key',
      'A WireGuard public key is 32 bytes in base64.',
      'Make one with `wg genkey | wg pubkey`.',
    )
  return database.transaction().execute(async (transaction) => {
    // Removed devices keep their rows and with them their addresses: an address is an identity.
    const rows = await transaction.selectFrom('devices').select(['name', 'address4', 'removed_at']).execute()
    if (rows.some((row) => row.name === name && row.removed_at === null))
      throw new Problem(
        'device_exists',
        `There is a device named “${name}” already.`,
        'Choose another name, or remove that one first.',
      )
    const addresses = nextAddresses(network, new Set(rows.map((row) => row.address4)))
    if (!addresses)
      throw new Problem(
        'addresses_exhausted',
        `Every address of ${network.range4} is taken.`,
        'Start a network with a larger range.',
      )
    const row = {
      id: randomUUID(),
      person_id: wanted.person.id,
      name,
      public_key: wanted.publicKey,
      preshared_key: makePresharedKey(),
      ...addresses,
      created_at: new Date().toISOString(),
      removed_at: null,
    }
    await transaction.insertInto('devices').values(row).execute()
    await bumpRevision(transaction)
    return toDevice({ ...row, person: wanted.person.name })
  })
}

/** The devices that are in the network, oldest first. */
export async function listDevices(database: Database): Promise<Device[]> {
  const rows = await database
    .selectFrom('devices')
    .innerJoin('people', 'people.id', 'devices.person_id')
    .selectAll('devices')
    .select('people.name as person')
    .where('removed_at', 'is', null)
    .orderBy('devices.created_at')
    .execute()
  return rows.map(toDevice)
}

/** Removes a device by name; a running gateway ends its sessions within a second. */
export async function removeDevice(database: Database, name: string): Promise<Device> {
  const device = (await listDevices(database)).find((candidate) => candidate.name === name)
  if (!device)
    throw new Problem(
      'device_missing',
      `There is no device named “${name}”.`,
      '`./sotto device list` shows their names.',
    )
  await database.transaction().execute(async (transaction) => {
    await transaction
      .updateTable('devices')
      .set({ removed_at: new Date().toISOString(), preshared_key: '' })
      .where('id', '=', device.id)
      .execute()
    await bumpRevision(transaction)
  })
  return device
}

function checkName(name: string): string {
  const trimmed = name.trim().normalize('NFC')
  if (!namePattern.test(trimmed))
    throw new Problem(
      'device_name',
      'A device name has 1 to 63 letters, digits, spaces, dots, dashes or underscores, and begins with a letter or digit.',
      'For example: ./sotto device add "Ada phone"',
    )
  return trimmed
}

function toDevice(row: DeviceTable & { person: string }): Device {
  return {
    id: row.id,
    name: row.name,
    person: row.person,
    publicKey: row.public_key,
    presharedKey: row.preshared_key,
    address4: row.address4,
    address6: row.address6,
    createdAt: row.created_at,
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
    .addColumn('address4', 'text', (column) => column.notNull().unique())
    .addColumn('address6', 'text', (column) => column.notNull().unique())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('removed_at', 'text')
    .execute()
}
