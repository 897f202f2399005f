/**
 * One-time links: each lets one device in, once, within its time. Only a hash of its token is kept. Until it
 * is used, a link has a place on the overlay of its own, where it reaches the gateway's enrolment and
 * nothing else; so a device can enrol over WireGuard, and nothing listens anywhere else.
 */
import { randomUUID } from 'node:crypto'
import type { Generated, Kysely, Selectable } from 'kysely'
import { makeKeyPair, makePresharedKey } from '#overlay/keys.ts'
import type { AddressPair } from '#overlay/addresses.ts'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import {
  checkExpiry,
  checkFree,
  checkName,
  freePlace,
  insertDevice,
  listDevices,
  type Device,
} from './device.ts'
import { bumpRevision, type Network } from './network.ts'
import type { Person } from './person.ts'
import { hashToken, makeToken } from './secret.ts'

export interface LinkTable {
  id: string
  name: string
  person_id: string
  token_hash: string
  public_key: string
  preshared_key: string
  number: number
  address4: string
  address6: string
  created_at: string
  expires_at: string
  used_at: string | null
  device_id: string | null
  /** From when on the device may speak no more. */
  device_expires_at: Generated<string | null>
}

/** A link as the registry knows it: enough for its place on the overlay, not enough to use it. */
export interface Link extends AddressPair {
  readonly id: string
  /** What the device will be called. */
  readonly name: string
  readonly publicKey: string
  readonly presharedKey: string
  readonly createdAt: string
  readonly expiresAt: string
}

/** What only the link itself holds. */
export interface LinkSecrets {
  /** 256 random bits, base64url. */
  readonly token: string
  readonly privateKey: string
}

const defaultLinkLifeMs = 86_400_000

/** After its use a link's place stays this long, so that the answer gets through and can be asked for again. */
const graceMs = 15_000

export interface NewLink {
  /** What the device will be called. */
  readonly name: string
  readonly person: Person
  /** How long it may wait to be used; a day. */
  readonly lifeMs?: number | undefined
  /** From when on the device may speak no more. */
  readonly expiresAt?: Date | undefined
}

export async function makeLink(
  database: Database,
  network: Network,
  wanted: NewLink,
  now: Date = new Date(),
): Promise<{ readonly link: Link; readonly secrets: LinkSecrets }> {
  const name = checkName(wanted.name)
  checkExpiry(wanted.expiresAt, now)
  const token = makeToken()
  const { privateKey, publicKey } = makeKeyPair()
  return database.transaction().execute(async (transaction) => {
    // Told now, to the one who can choose another name, and not to the device.
    await checkFree(transaction, { name, keys: [] })
    const row = {
      id: randomUUID(),
      name,
      person_id: wanted.person.id,
      token_hash: hashToken(token),
      public_key: publicKey,
      preshared_key: makePresharedKey(),
      ...(await freePlace(transaction, network, now)),
      created_at: now.toISOString(),
      expires_at: new Date(now.getTime() + (wanted.lifeMs ?? defaultLinkLifeMs)).toISOString(),
      used_at: null,
      device_id: null,
      device_expires_at: wanted.expiresAt?.toISOString() ?? null,
    }
    await transaction.insertInto('links').values(row).execute()
    await bumpRevision(transaction)
    return { link: toLink(row), secrets: { token, privateKey } }
  })
}

/** The links that have a place on the overlay now. */
export async function openLinks(database: Database, now: Date = new Date()): Promise<Link[]> {
  const rows = await database
    .selectFrom('links')
    .selectAll()
    .where('expires_at', '>', now.toISOString())
    .orderBy('created_at')
    .execute()
  return rows.map(toLink)
}

export interface Redemption {
  readonly token: string
  readonly publicKey: string
  readonly directKey?: string
}

/**
 * Turns a link into a device. The same token with the same keys gives the same answer for some seconds more,
 * for a device that lost the first one. Throws a `Problem`: `link_unknown`, `link_used`, `link_expired`.
 */
export async function redeemLink(
  database: Database,
  network: Network,
  { token, publicKey, directKey }: Redemption,
  now: Date = new Date(),
): Promise<Device> {
  return database.transaction().execute(async (transaction) => {
    const row = await transaction
      .selectFrom('links')
      .innerJoin('people', 'people.id', 'links.person_id')
      .selectAll('links')
      .select('people.name as person')
      .where('token_hash', '=', hashToken(token))
      .executeTakeFirst()
    if (!row) throw new Problem('link_unknown', 'This link is none of this network’s.', another)
    if (row.device_id !== null)
      return again(transaction, row.device_id, { publicKey, expiresAt: row.expires_at, now })
    if (Date.parse(row.expires_at) <= now.getTime())
      throw new Problem('link_expired', 'This link’s time has passed.', another)
    const person = { id: row.person_id, name: row.person }
    const device = await insertDevice(
      transaction,
      network,
      {
        name: row.name,
        person,
        publicKey,
        ...(directKey !== undefined && { directKey }),
        ...(row.device_expires_at !== null && { expiresAt: new Date(row.device_expires_at) }),
      },
      now,
    )
    await transaction
      .updateTable('links')
      .set({
        used_at: now.toISOString(),
        device_id: device.id,
        expires_at: new Date(now.getTime() + graceMs).toISOString(),
      })
      .where('id', '=', row.id)
      .execute()
    return device
  })
}

/** Those that wait to be used, oldest first. */
export async function listLinks(database: Database, now: Date = new Date()): Promise<Link[]> {
  const rows = await database
    .selectFrom('links')
    .selectAll()
    .where('used_at', 'is', null)
    .where('expires_at', '>', now.toISOString())
    .orderBy('created_at')
    .execute()
  return rows.map(toLink)
}

/** Ends a link before it is used. Throws a `Problem` where none waits for a device of that name. */
export async function withdrawLink(database: Database, name: string): Promise<void> {
  await database.transaction().execute(async (transaction) => {
    const gone = await transaction
      .deleteFrom('links')
      .where('name', '=', name.trim().normalize('NFC'))
      .where('used_at', 'is', null)
      .returning('id')
      .execute()
    if (gone.length === 0)
      throw new Problem(
        'link_missing',
        `No link waits for “${name}”.`,
        '`./sotto device links` shows those that do.',
      )
    await bumpRevision(transaction)
  })
}

const another = 'Ask for a new one: `./sotto device add NAME --link`.'

async function again(
  database: Database,
  deviceId: string,
  { publicKey, expiresAt, now }: { publicKey: string; expiresAt: string; now: Date },
): Promise<Device> {
  const device = (await listDevices(database)).find(({ id }) => id === deviceId)
  if (device?.publicKey === publicKey && Date.parse(expiresAt) > now.getTime()) return device
  throw new Problem('link_used', 'This link has been used.', another)
}

function toLink(row: Omit<Selectable<LinkTable>, 'device_expires_at'>): Link {
  return {
    id: row.id,
    name: row.name,
    publicKey: row.public_key,
    presharedKey: row.preshared_key,
    address4: row.address4,
    address6: row.address6,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  }
}

/** @internal a migration; see `database.ts` */
export async function createLinks(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('links')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('person_id', 'text', (column) => column.notNull().references('people.id'))
    .addColumn('token_hash', 'text', (column) => column.notNull().unique())
    .addColumn('public_key', 'text', (column) => column.notNull().unique())
    .addColumn('preshared_key', 'text', (column) => column.notNull())
    .addColumn('number', 'integer', (column) => column.notNull())
    .addColumn('address4', 'text', (column) => column.notNull())
    .addColumn('address6', 'text', (column) => column.notNull())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'text', (column) => column.notNull())
    .addColumn('used_at', 'text')
    .addColumn('device_id', 'text', (column) => column.references('devices.id'))
    .execute()
}

/** @internal a migration; see `database.ts` */
export async function letLinksEndDevices(database: Kysely<unknown>): Promise<void> {
  await database.schema.alterTable('links').addColumn('device_expires_at', 'text').execute()
}
