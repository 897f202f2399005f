/**
 * What went through each device's tunnel, in all. WireGuard's counters begin anew with their interface and
 * their peer, so what is kept is the sum, and the last reading that is in it already.
 */
import type { Kysely } from 'kysely'
import type { LivePeer } from '#wireguard/peers.ts'
import type { Database } from '../database.ts'

export interface TrafficTable {
  device_id: string
  received: number
  sent: number
  last_received: number
  last_sent: number
  latest_handshake: number | null
  endpoint: string | null
}

export interface Traffic {
  /** Bytes since the device was added, seen from the hub. */
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Unix seconds; null for never. */
  readonly latestHandshake: number | null
  readonly endpoint: string | null
}

/**
 * Adds what came since the last reading.
 *
 * @param fresh public keys whose counters began at zero since then
 */
export async function recordTraffic(
  database: Database,
  peers: readonly LivePeer[],
  fresh: ReadonlySet<string>,
): Promise<void> {
  const readings = new Map(peers.map((peer) => [peer.publicKey, peer]))
  const devices = await database
    .selectFrom('devices')
    .leftJoin('traffic', 'traffic.device_id', 'devices.id')
    .select(['devices.id', 'devices.public_key'])
    .selectAll('traffic')
    .where('removed_at', 'is', null)
    .execute()
  const changed = devices.flatMap(({ id, public_key, ...row }) => {
    const peer = readings.get(public_key)
    if (!peer) return []
    const before = isKnown(row) ? row : unseen(id)
    const base = fresh.has(public_key) ? unseen(id) : before
    const next: TrafficTable = {
      device_id: id,
      received: before.received + grown(peer.receivedBytes, base.last_received),
      sent: before.sent + grown(peer.sentBytes, base.last_sent),
      last_received: peer.receivedBytes,
      last_sent: peer.sentBytes,
      latest_handshake: peer.latestHandshake ?? before.latest_handshake,
      endpoint: peer.endpoint ?? before.endpoint,
    }
    return same(next, before) ? [] : [next]
  })
  if (changed.length === 0) return
  await database.transaction().execute(async (transaction) => {
    for (const { device_id, ...values } of changed)
      await transaction
        .insertInto('traffic')
        .values({ device_id, ...values })
        .onConflict((conflict) => conflict.column('device_id').doUpdateSet(values))
        .execute()
  })
}

/** Where each device was last heard from: `ip:port` by device. */
export async function readEndpoints(database: Database): Promise<Map<string, string>> {
  const rows = await database.selectFrom('traffic').select(['device_id', 'endpoint']).execute()
  return new Map(
    rows.flatMap(({ device_id, endpoint }) => (endpoint === null ? [] : [[device_id, endpoint]])),
  )
}

/** By device. */
export async function readTraffic(database: Database): Promise<Map<string, Traffic>> {
  const rows = await database.selectFrom('traffic').selectAll().execute()
  return new Map(
    rows.map((row) => [
      row.device_id,
      {
        receivedBytes: row.received,
        sentBytes: row.sent,
        latestHandshake: row.latest_handshake,
        endpoint: row.endpoint,
      },
    ]),
  )
}

/** A counter that is below the last reading began anew in between. */
function grown(now: number, last: number): number {
  return now >= last ? now - last : now
}

/** Whether a device has been read before: what is joined to it is null where not. */
function isKnown(row: { readonly [Column in keyof TrafficTable]: unknown }): row is TrafficTable {
  return row.device_id !== null
}

function unseen(device_id: string): TrafficTable {
  return {
    device_id,
    received: 0,
    sent: 0,
    last_received: 0,
    last_sent: 0,
    latest_handshake: null,
    endpoint: null,
  }
}

function same(one: TrafficTable, other: TrafficTable): boolean {
  return (
    one.last_received === other.last_received &&
    one.last_sent === other.last_sent &&
    one.latest_handshake === other.latest_handshake &&
    one.endpoint === other.endpoint
  )
}

/** @internal a migration; see `database.ts` */
export async function createTraffic(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('traffic')
    .addColumn('device_id', 'text', (column) => column.primaryKey().references('devices.id'))
    .addColumn('received', 'integer', (column) => column.notNull())
    .addColumn('sent', 'integer', (column) => column.notNull())
    .addColumn('last_received', 'integer', (column) => column.notNull())
    .addColumn('last_sent', 'integer', (column) => column.notNull())
    .addColumn('latest_handshake', 'integer')
    .addColumn('endpoint', 'text')
    .execute()
}
