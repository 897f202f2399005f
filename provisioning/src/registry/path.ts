/** How devices that run `sotto join` reach each other, as each of them tells it. */
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'

export interface PathTable {
  device_id: string
  peer_id: string
  state: PathState
  reason: string | null
  since: string
}

export type PathState = 'direct' | 'probing' | 'relayed'

export interface Path {
  /** The other device's id. */
  readonly peerId: string
  readonly state: PathState
  /** Why it is relayed, in words; null where it is not. */
  readonly reason: string | null
  readonly since: string
}

/** Replaces what a device told before. */
export async function recordPaths(
  database: Database,
  deviceId: string,
  paths: readonly Omit<Path, 'since'>[],
  now: Date = new Date(),
): Promise<void> {
  await database.transaction().execute(async (transaction) => {
    const before = new Map((await readPaths(transaction)).get(deviceId)?.map((path) => [path.peerId, path]))
    await transaction.deleteFrom('paths').where('device_id', '=', deviceId).execute()
    for (const { peerId, state, reason } of paths) {
      const old = before.get(peerId)
      const since = old?.state === state ? old.since : now.toISOString()
      await transaction
        .insertInto('paths')
        .values({ device_id: deviceId, peer_id: peerId, state, reason, since })
        .execute()
    }
  })
}

/** By the device that tells it. */
export async function readPaths(database: Database): Promise<Map<string, Path[]>> {
  const rows = await database.selectFrom('paths').selectAll().execute()
  const paths = new Map<string, Path[]>()
  for (const row of rows) {
    const path = { peerId: row.peer_id, state: row.state, reason: row.reason, since: row.since }
    paths.set(row.device_id, [...(paths.get(row.device_id) ?? []), path])
  }
  return paths
}

/** @internal a migration; see `database.ts` */
export async function createPaths(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('paths')
    .addColumn('device_id', 'text', (column) => column.notNull().references('devices.id'))
    .addColumn('peer_id', 'text', (column) => column.notNull().references('devices.id'))
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('reason', 'text')
    .addColumn('since', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('paths_pair', ['device_id', 'peer_id'])
    .execute()
}
