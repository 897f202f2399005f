/** Devices, keys and people as people look at them, with nothing in them that is secret. */
import { isOnline } from '#wireguard/peers.ts'
import type { Database } from '../database.ts'
import { readAllowances } from './allowance.ts'
import { isAdmitted, listDevices, type Device } from './device.ts'
import { listKeys, withoutHashes, type Key, type KeyState } from './key.ts'
import { readPaths, type PathState } from './path.ts'
import { listPeople } from './person.ts'
import { listTenants, type Tenant } from './tenant.ts'
import { readTraffic, type Traffic } from './traffic.ts'

export type DeviceState = 'online' | 'offline' | 'never' | 'disabled' | 'expired'

/** A device without its preshared key. */
export interface DeviceView extends Omit<Device, 'presharedKey'> {
  readonly state: DeviceState
  /** ISO 8601; null for never. */
  readonly latestHandshake: string | null
  readonly endpoint: string | null
  /** Bytes since it was added, seen from the hub. */
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Whether it runs `sotto join`, which can take direct paths. */
  readonly joined: boolean
  readonly paths: readonly PathView[]
}

export interface PathView {
  /** The other device's name. */
  readonly peer: string
  readonly state: PathState
  readonly reason: string | null
  readonly since: string
}

export async function viewDevices(database: Database, now: number = Date.now()): Promise<DeviceView[]> {
  const devices = await listDevices(database)
  const traffic = await readTraffic(database)
  const paths = await readPaths(database)
  const names = new Map(devices.map(({ id, name }) => [id, name]))
  return devices.map((row) => {
    const { presharedKey: _, ...device } = row
    const seen = traffic.get(device.id)
    return {
      ...device,
      state: stateOf(device, seen, now),
      latestHandshake: seen?.latestHandshake ? new Date(seen.latestHandshake * 1000).toISOString() : null,
      endpoint: seen?.endpoint ?? null,
      receivedBytes: seen?.receivedBytes ?? 0,
      sentBytes: seen?.sentBytes ?? 0,
      joined: device.directKey !== null,
      paths: (paths.get(device.id) ?? []).flatMap(({ peerId, ...path }) => {
        const peer = names.get(peerId)
        return peer === undefined ? [] : [{ peer, ...path }]
      }),
    }
  })
}

function stateOf(
  device: Pick<Device, 'disabledAt' | 'expiresAt'>,
  traffic: Traffic | undefined,
  now: number,
): DeviceState {
  if (device.disabledAt !== null) return 'disabled'
  if (!isAdmitted(device, now)) return 'expired'
  if (traffic?.latestHandshake == null) return 'never'
  return isOnline(traffic, now) ? 'online' : 'offline'
}

/** A key without its hashes. */
export interface KeyView extends Omit<Key, 'secrets' | 'deviceId'> {
  readonly state: KeyState
  /** The first characters of each secret that is good now. */
  readonly prefixes: readonly string[]
  /** Name of the one device that may use it; null for any. */
  readonly device: string | null
  /** What it is held to; null for all. */
  readonly services: readonly string[] | null
  readonly models: readonly string[] | null
}

/** The keys that are not removed, oldest first. */
export async function viewKeys(database: Database, now: number = Date.now()): Promise<KeyView[]> {
  const keys = await listKeys(database)
  const allowances = await readAllowances(database)
  const devices = new Map((await listDevices(database)).map(({ id, name }) => [id, name]))
  return keys.map((key) => {
    const { services = null, models = null } = allowances.get(`key:${key.id}`) ?? {}
    const { deviceId, ...rest } = withoutHashes(key, now)
    return {
      ...rest,
      device: deviceId === null ? null : (devices.get(deviceId) ?? 'a removed device'),
      services,
      models,
    }
  })
}

export interface TenantPeople extends Tenant {
  /** In the order of their names. */
  readonly people: readonly PersonView[]
}

export interface PersonView {
  readonly name: string
  readonly admin: boolean
  /** How many are theirs. */
  readonly devices: number
  readonly keys: number
  /** How they sign in who have no device at hand; null for who can't. */
  readonly account: { readonly mail: string | null } | null
}

/** Everybody, by tenant. */
export async function viewPeople(database: Database): Promise<TenantPeople[]> {
  const people = await listPeople(database)
  const devices = Map.groupBy(await listDevices(database), ({ personId }) => personId)
  const keys = Map.groupBy(await listKeys(database), ({ personId }) => personId)
  const rows = await database.selectFrom('accounts').select(['person_id', 'mail']).execute()
  const accounts = new Map(rows.map(({ person_id, mail }) => [person_id, { mail }]))
  return (await listTenants(database)).map((tenant) => ({
    id: tenant.id,
    name: tenant.name,
    disabledAt: tenant.disabledAt,
    people: people
      .filter(({ tenantId }) => tenantId === tenant.id)
      .map(({ id, name }) => ({
        name,
        admin: id === people[0]?.id,
        devices: devices.get(id)?.length ?? 0,
        keys: keys.get(id)?.length ?? 0,
        account: accounts.get(id) ?? null,
      }))
      .toSorted((one, other) => one.name.localeCompare(other.name)),
  }))
}
