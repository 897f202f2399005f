/**
 * Gateways of friends, each under a short name of our own choice: those that joined our relay, and those whose relay
 * we joined. Also what we are called ourselves among them.
 */
import { randomBytes } from 'node:crypto'
import type { Kysely, Selectable } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { admitFriend, dismissFriend } from './friend-tenant.ts'
import { removeMesh, withdrawMeshInvitation } from './mesh.ts'
import { bumpRevision } from './network.ts'

export interface FriendTable {
  name: string
  /** Null while we have not been let in yet. */
  mesh_id: string | null
  direction: 'invited' | 'joined'
  /** Of its relay; null where it joined ours. */
  url: string | null
  /** PEM of its authority; null where this machine's own store decides, or it joined ours. */
  ca: string | null
  /** Of that authority: SHA-256, upper-case hex in pairs with colons. */
  fingerprint: string | null
  /** By which we are known at its relay. It is sent, so it can't be a hash. */
  secret: string | null
  /** Under which we are known there. */
  own_mesh_id: string | null
  created_at: string
}

export interface OwnMeshTable {
  id: number
  mesh_id: string
}

export interface Friend {
  /** Short: the `friend` of `model@friend`. */
  readonly name: string
  readonly meshId: string
  /** `invited`: it joined our relay. `joined`: we joined its. */
  readonly direction: 'invited' | 'joined'
  readonly createdAt: string
  /** How its relay is reached, where we joined it. */
  readonly relay?: FriendRelay
}

export interface FriendRelay {
  /** `wss://…/gateway` */
  readonly url: string
  /** PEM; undefined where this machine's own store decides. */
  readonly ca: string | undefined
  readonly fingerprint: string | undefined
  readonly meshId: string
  readonly secret: string
}

const friendName = /^[a-z0-9][a-z0-9-]{0,31}$/

/** As it stands behind the @ of a model. Throws a `Problem`. */
export function checkFriendName(name: string): string {
  if (friendName.test(name)) return name
  throw new Problem(
    'friend_name',
    `“${name}” is no name of small letters, digits and dashes, 32 at most.`,
    'For example: ada',
  )
}

/** By which others know us, on every relay alike; made once. */
export async function ownMeshId(database: Database): Promise<string> {
  return database.transaction().execute(async (transaction) => {
    const found = await transaction.selectFrom('own_mesh').selectAll().executeTakeFirst()
    if (found) return found.mesh_id
    const made = `sotto-${randomBytes(8).toString('hex')}`
    await transaction.insertInto('own_mesh').values({ id: 1, mesh_id: made }).execute()
    return made
  })
}

/** Throws a `Problem` where the name or the mesh is a friend's already, or waits for one. */
export async function checkNewFriend(
  database: Database,
  name: string,
  meshId: string | undefined,
): Promise<void> {
  const rows = await database.selectFrom('friends').selectAll().execute()
  const taken = rows.find((row) => row.name === name && row.mesh_id !== null)
  const known = rows.find((row) => meshId !== undefined && row.mesh_id === meshId)
  if (!taken && !known) return
  throw new Problem(
    'friend_exists',
    taken
      ? `There is a friend named “${name}” already.`
      : `That gateway is your friend “${known?.name}” already.`,
    `Choose another, or first: ./sotto federation remove ${(taken ?? known)?.name}`,
  )
}

/** One that joined our relay. Part of the transaction that lets its mesh in. */
export async function addInvitedFriend(
  database: Database,
  { name, meshId }: { readonly name: string; readonly meshId: string },
  now: Date = new Date(),
): Promise<void> {
  await checkNewFriend(database, name, meshId)
  await database.deleteFrom('friends').where('name', '=', name).execute()
  await database
    .insertInto('friends')
    .values({
      name,
      mesh_id: meshId,
      direction: 'invited',
      url: null,
      ca: null,
      fingerprint: null,
      secret: null,
      own_mesh_id: null,
      created_at: now.toISOString(),
    })
    .execute()
  await admitFriend(database, { name, meshId })
  await bumpRevision(database)
}

export interface Joining extends Omit<FriendRelay, 'meshId' | 'secret'> {
  readonly name: string
}

/**
 * Notes that we are about to join, so that a join whose answer was lost goes on with the same secret. Throws a
 * `Problem` for a name that is taken.
 */
export async function beginJoin(
  database: Database,
  { name, url, ca, fingerprint }: Joining,
  own: { readonly meshId: string; readonly secret: string },
  now: Date = new Date(),
): Promise<{ readonly meshId: string; readonly secret: string }> {
  checkFriendName(name)
  return database.transaction().execute(async (transaction) => {
    await checkNewFriend(transaction, name, undefined)
    const begun = await transaction
      .selectFrom('friends')
      .selectAll()
      .where('name', '=', name)
      .where('url', '=', url)
      .executeTakeFirst()
    const secret = begun?.secret ?? own.secret
    const row = {
      name,
      mesh_id: null,
      direction: 'joined' as const,
      url,
      ca: ca ?? null,
      fingerprint: fingerprint ?? null,
      secret,
      own_mesh_id: own.meshId,
      created_at: now.toISOString(),
    }
    await transaction.deleteFrom('friends').where('name', '=', name).execute()
    await transaction.insertInto('friends').values(row).execute()
    return { meshId: own.meshId, secret }
  })
}

/** We were let in: now it is a friend. Throws a `Problem` where its mesh is one already. */
export async function endJoin(database: Database, name: string, meshId: string): Promise<void> {
  await database.transaction().execute(async (transaction) => {
    await checkNewFriend(transaction, name, meshId)
    await transaction.updateTable('friends').set({ mesh_id: meshId }).where('name', '=', name).execute()
    await admitFriend(transaction, { name, meshId })
    await bumpRevision(transaction)
  })
}

/** It did not let us in. */
export async function giveUpJoin(database: Database, name: string): Promise<void> {
  await database.deleteFrom('friends').where('name', '=', name).where('mesh_id', 'is', null).execute()
}

export async function listFriends(database: Database): Promise<Friend[]> {
  const rows = await database.selectFrom('friends').selectAll().orderBy('name').execute()
  return rows.flatMap((row) => toFriend(row) ?? [])
}

/**
 * Ends a friendship on our side, or the mesh or invitation of that name on our relay: its connection ends within a
 * second. Throws a `Problem` where there is none.
 */
export async function removeFriend(database: Database, wanted: string): Promise<void> {
  const name = wanted.trim().normalize('NFC')
  await database.transaction().execute(async (transaction) => {
    const gone = await transaction
      .deleteFrom('friends')
      .where('name', '=', name)
      .returning(['direction', 'mesh_id'])
      .executeTakeFirst()
    if (gone?.mesh_id != null) await dismissFriend(transaction, gone.mesh_id)
    // A mesh and a friend whose relay we joined may have one name, and the friend's goes first.
    const removed =
      gone?.direction === 'joined' ||
      (await removeMesh(transaction, name)) ||
      (await withdrawMeshInvitation(transaction, name))
    if (!removed && gone === undefined)
      throw new Problem(
        'friend_missing',
        `There is no friend or mesh named “${name}”.`,
        '`./sotto federation list` shows their names.',
      )
    await bumpRevision(transaction)
  })
}

function toFriend(row: Selectable<FriendTable>): Friend | undefined {
  if (row.mesh_id === null) return undefined
  const { url, secret, own_mesh_id: meshId } = row
  return {
    name: row.name,
    meshId: row.mesh_id,
    direction: row.direction,
    createdAt: row.created_at,
    ...(url !== null &&
      secret !== null &&
      meshId !== null && {
        relay: { url, ca: row.ca ?? undefined, fingerprint: row.fingerprint ?? undefined, meshId, secret },
      }),
  }
}

/** @internal a migration; see `database.ts` */
export async function createFriends(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('friends')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('mesh_id', 'text', (column) => column.unique())
    .addColumn('direction', 'text', (column) => column.notNull())
    .addColumn('url', 'text')
    .addColumn('ca', 'text')
    .addColumn('fingerprint', 'text')
    .addColumn('secret', 'text')
    .addColumn('own_mesh_id', 'text')
    .addColumn('created_at', 'text', (column) => column.notNull())
    .execute()
  await database.schema
    .createTable('own_mesh')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('mesh_id', 'text', (column) => column.notNull())
    .execute()
}
