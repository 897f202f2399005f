/** The network: one row, made once. Its revision grows with each change that the gateway has to act on. */
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'

export interface NetworkTable {
  id: number
  interface: string
  range4: string
  range6: string
  listen_port: number
  endpoint: string | null
  public_key: string
  gateway_port: number | null
  revision: number
  followed: number
  created_at: string
}

export interface Network {
  /** Name of the WireGuard interface. */
  readonly interface: string
  /** The overlay's ranges in CIDR notation; the hub has the first address of each. */
  readonly range4: string
  readonly range6: string
  /** UDP port that WireGuard listens on. */
  readonly listenPort: number
  /** `host:port` that devices dial; null until one is known. */
  readonly endpoint: string | null
  /** The hub's public key, base64. */
  readonly publicKey: string
  /** TCP port that the gateway served on last; null before it ever did. */
  readonly gatewayPort: number | null
}

/** The network, or undefined before it is made. */
export async function readNetwork(database: Database): Promise<Network | undefined> {
  const row = await database.selectFrom('network').selectAll().executeTakeFirst()
  return (
    row && {
      interface: row.interface,
      range4: row.range4,
      range6: row.range6,
      listenPort: row.listen_port,
      endpoint: row.endpoint,
      publicKey: row.public_key,
      gatewayPort: row.gateway_port,
    }
  )
}

/** The ready network of a state directory, as commands need it. */
export async function requireNetwork(database: Database): Promise<Network> {
  const network = await readNetwork(database)
  if (!network)
    throw new Problem(
      'network_missing',
      'There is no network yet.',
      'Start the gateway once with `npm start`.',
    )
  return network
}

export async function insertNetwork(database: Database, network: Network): Promise<void> {
  await database
    .insertInto('network')
    .values({
      id: 1,
      interface: network.interface,
      range4: network.range4,
      range6: network.range6,
      listen_port: network.listenPort,
      endpoint: network.endpoint,
      public_key: network.publicKey,
      gateway_port: network.gatewayPort,
      revision: 1,
      followed: 0,
      created_at: new Date().toISOString(),
    })
    .execute()
}

/** What devices added from now on dial, as `host:port`; joined devices follow. */
export async function setEndpoint(database: Database, endpoint: string): Promise<void> {
  await database
    .updateTable('network')
    .set((column) => ({ endpoint, revision: column('revision', '+', 1) }))
    .execute()
}

/** Where the gateway serves now: links and joined devices are told. */
export async function setGatewayPort(database: Database, port: number): Promise<void> {
  await database.updateTable('network').set({ gateway_port: port }).execute()
}

/** Grows with each change of devices, from whichever process: compare it to see whether to look again. */
export async function readRevision(database: Database): Promise<number> {
  const row = await database.selectFrom('network').select('revision').executeTakeFirst()
  return row?.revision ?? 0
}

/** The revision that a running gateway has brought its interface in step with. */
export async function readFollowed(database: Database): Promise<number> {
  const row = await database.selectFrom('network').select('followed').executeTakeFirst()
  return row?.followed ?? 0
}

export async function setFollowed(database: Database, revision: number): Promise<void> {
  await database.updateTable('network').set({ followed: revision }).execute()
}

/** Part of the transaction that makes a change. */
export async function bumpRevision(database: Database): Promise<void> {
  await database
    .updateTable('network')
    .set((column) => ({ revision: column('revision', '+', 1) }))
    .execute()
}

/** @internal a migration; see `database.ts` */
export async function createNetwork(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('network')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('interface', 'text', (column) => column.notNull())
    .addColumn('range4', 'text', (column) => column.notNull())
    .addColumn('range6', 'text', (column) => column.notNull())
    .addColumn('listen_port', 'integer', (column) => column.notNull())
    .addColumn('endpoint', 'text')
    .addColumn('public_key', 'text', (column) => column.notNull())
    .addColumn('gateway_port', 'integer')
    .addColumn('revision', 'integer', (column) => column.notNull())
    .addColumn('followed', 'integer', (column) => column.notNull())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .execute()
}
