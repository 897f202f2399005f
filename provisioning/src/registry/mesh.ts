/**
 * Meshes that may connect to our relay, each under an id of its own choice, and the one-time invitations by which
 * they come. One that is here is never overwritten: who knows its id alone takes nothing over.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Kysely, Selectable } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { bumpRevision } from './network.ts'
import { hashSecret, verifySecret } from './secret.ts'

export interface MeshTable {
  mesh_id: string
  name: string
  /** Argon2id, as of keys. */
  secret_hash: string
  created_at: string
  /** When it was last connected; null before it ever was. */
  last_at: string | null
  /** From which it came last. */
  address: string | null
}

export interface MeshInvitationTable {
  name: string
  token_hash: string
  created_at: string
  expires_at: string
  /** By whom it was used; null while it waits. */
  mesh_id: string | null
}

export interface Mesh {
  readonly meshId: string
  /** Unique on this relay. */
  readonly name: string
  readonly secretHash: string
  readonly createdAt: string
  readonly lastAt: string | null
  readonly address: string | null
}

export interface MeshInvitation {
  /** What the mesh will be called. */
  readonly name: string
  readonly createdAt: string
  readonly expiresAt: string
}

export interface Registration {
  readonly meshId: string
  readonly secret: string
}

/** Two gateways are seldom set up together: their admins write each other. */
const invitationLifeMs = 7 * 86_400_000

/** Lets in a mesh under a name that its relay's admin chose. Throws a `Problem`: `mesh_exists`. */
export async function addMesh(
  database: Database,
  wanted: Registration & { readonly name: string },
  now: Date = new Date(),
): Promise<Mesh> {
  const secretHash = await hashSecret(wanted.secret)
  return database
    .transaction()
    .execute((transaction) => insertMesh(transaction, { ...wanted, secretHash }, now))
}

/** Gives a token of 256 random bits, base64url, that lets one mesh in, once. */
export async function inviteMesh(
  database: Database,
  wanted: string,
  now: Date = new Date(),
): Promise<{ readonly invitation: MeshInvitation; readonly token: string }> {
  const name = checkName(wanted)
  const token = randomBytes(32).toString('base64url')
  const expiresAt = new Date(now.getTime() + invitationLifeMs).toISOString()
  const row = {
    name,
    token_hash: hash(token),
    created_at: now.toISOString(),
    expires_at: expiresAt,
    mesh_id: null,
  }
  await database.transaction().execute(async (transaction) => {
    await checkFree(transaction, name)
    // Who asks again has lost the first one.
    await transaction.deleteFrom('mesh_invitations').where('name', '=', name).execute()
    await transaction.insertInto('mesh_invitations').values(row).execute()
  })
  return { invitation: { name, createdAt: row.created_at, expiresAt }, token }
}

/**
 * Turns an invitation into a mesh; `then` is part of it. The same token with the same id and secret is answered
 * alike again, for one that lost the first answer. Throws a `Problem`: `invitation_unknown`, `invitation_used`,
 * `invitation_expired`, `mesh_exists`.
 */
export async function redeemMeshInvitation(
  database: Database,
  { token, ...wanted }: Registration & { readonly token: string },
  then: (transaction: Database, mesh: Mesh) => Promise<void> = async () => {},
  now: Date = new Date(),
): Promise<Mesh> {
  const found = await invitationOf(database, token)
  if (found?.mesh_id != null) return again(database, found.mesh_id, wanted)
  // The slow hash is not made for those that have no invitation, nor within the transaction.
  if (!found) throw unknownInvitation()
  const secretHash = await hashSecret(wanted.secret)
  return database.transaction().execute(async (transaction) => {
    const invitation = await invitationOf(transaction, token)
    if (!invitation) throw unknownInvitation()
    if (invitation.mesh_id !== null) throw usedInvitation()
    if (Date.parse(invitation.expires_at) <= now.getTime())
      throw new Problem('invitation_expired', 'This invitation’s time has passed.', another)
    const mesh = await insertMesh(transaction, { ...wanted, name: invitation.name, secretHash }, now)
    await transaction
      .updateTable('mesh_invitations')
      .set({ mesh_id: mesh.meshId })
      .where('token_hash', '=', hash(token))
      .execute()
    await then(transaction, mesh)
    return mesh
  })
}

/** Those that wait to be used, oldest first. */
export async function listMeshInvitations(
  database: Database,
  now: Date = new Date(),
): Promise<MeshInvitation[]> {
  const rows = await database
    .selectFrom('mesh_invitations')
    .selectAll()
    .where('mesh_id', 'is', null)
    .where('expires_at', '>', now.toISOString())
    .orderBy('created_at')
    .execute()
  return rows.map((row) => ({ name: row.name, createdAt: row.created_at, expiresAt: row.expires_at }))
}

/** Ends an invitation before it is used; false where none waits under that name. */
export async function withdrawMeshInvitation(database: Database, name: string): Promise<boolean> {
  const gone = await database
    .deleteFrom('mesh_invitations')
    .where('name', '=', name.trim().normalize('NFC'))
    .where('mesh_id', 'is', null)
    .returning('name')
    .execute()
  return gone.length > 0
}

export async function listMeshes(database: Database): Promise<Mesh[]> {
  const rows = await database.selectFrom('meshes').selectAll().orderBy('name').execute()
  return rows.map(toMesh)
}

export async function findMesh(database: Database, meshId: string): Promise<Mesh | undefined> {
  const row = await database.selectFrom('meshes').selectAll().where('mesh_id', '=', meshId).executeTakeFirst()
  return row && toMesh(row)
}

/** Ends it for good: its connection within a second. False where there is none of that name. */
export async function removeMesh(database: Database, name: string): Promise<boolean> {
  const gone = await database
    .deleteFrom('meshes')
    .where('name', '=', name.trim().normalize('NFC'))
    .returning('mesh_id')
    .execute()
  if (gone.length === 0) return false
  await database.deleteFrom('mesh_invitations').where('name', '=', name.trim().normalize('NFC')).execute()
  await bumpRevision(database)
  return true
}

/** Notes those that are connected, or were until now, with the address of each. */
export async function noteMeshes(
  database: Database,
  seen: ReadonlyMap<string, string>,
  now: Date = new Date(),
): Promise<void> {
  await database.transaction().execute(async (transaction) => {
    for (const [meshId, address] of seen)
      await transaction
        .updateTable('meshes')
        .set({ address, last_at: now.toISOString() })
        .where('mesh_id', '=', meshId)
        .execute()
  })
}

const namePattern = /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,62}$/u

function checkName(name: string): string {
  const trimmed = name.trim().normalize('NFC')
  if (namePattern.test(trimmed)) return trimmed
  throw new Problem(
    'mesh_name',
    'A mesh’s name has 1 to 63 letters, digits, spaces, dots, dashes or underscores, and begins with a letter or digit.',
    'For example: ada',
  )
}

/** Throws a `Problem` where a mesh has the name. */
async function checkFree(database: Database, name: string): Promise<void> {
  const taken = await database.selectFrom('meshes').select('name').where('name', '=', name).executeTakeFirst()
  if (taken)
    throw new Problem(
      'mesh_exists',
      `There is a mesh named “${name}” already.`,
      `Choose another name, or first: ./sotto federation remove "${name}"`,
    )
}

async function insertMesh(
  database: Database,
  wanted: { readonly meshId: string; readonly name: string; readonly secretHash: string },
  now: Date,
): Promise<Mesh> {
  const name = checkName(wanted.name)
  if (await findMesh(database, wanted.meshId))
    throw new Problem(
      'mesh_exists',
      `There is a mesh “${wanted.meshId}” already, and nobody overwrites it.`,
      'Its relay’s admin removes it first: ./sotto federation remove NAME',
    )
  await checkFree(database, name)
  const row = {
    mesh_id: wanted.meshId,
    name,
    secret_hash: wanted.secretHash,
    created_at: now.toISOString(),
    last_at: null,
    address: null,
  }
  await database.insertInto('meshes').values(row).execute()
  await bumpRevision(database)
  return toMesh(row)
}

async function again(database: Database, meshId: string, wanted: Registration): Promise<Mesh> {
  const mesh = await findMesh(database, meshId)
  const same = Buffer.from(hash(meshId))
  if (!mesh || !timingSafeEqual(same, Buffer.from(hash(wanted.meshId)))) throw usedInvitation()
  if (!(await verifySecret(mesh.secretHash, wanted.secret))) throw usedInvitation()
  return mesh
}

const another = 'Ask for a new one: `./sotto federation invite NAME`.'

function unknownInvitation(): Problem {
  return new Problem('invitation_unknown', 'This invitation is none of this gateway’s.', another)
}

function usedInvitation(): Problem {
  return new Problem('invitation_used', 'This invitation has been used.', another)
}

async function invitationOf(database: Database, token: string) {
  return database
    .selectFrom('mesh_invitations')
    .selectAll()
    .where('token_hash', '=', hash(token))
    .executeTakeFirst()
}

/** Fast is right here: 256 random bits can't be guessed, however fast a guess is. */
function hash(token: string): string {
  return createHash('sha256').update(token).digest('base64')
}

function toMesh(row: Selectable<MeshTable>): Mesh {
  return {
    meshId: row.mesh_id,
    name: row.name,
    secretHash: row.secret_hash,
    createdAt: row.created_at,
    lastAt: row.last_at,
    address: row.address,
  }
}

/** @internal a migration; see `database.ts` */
export async function createMeshes(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('meshes')
    .addColumn('mesh_id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .addColumn('secret_hash', 'text', (column) => column.notNull())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('last_at', 'text')
    .addColumn('address', 'text')
    .execute()
  await database.schema
    .createTable('mesh_invitations')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('token_hash', 'text', (column) => column.notNull().unique())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'text', (column) => column.notNull())
    .addColumn('mesh_id', 'text')
    .execute()
}
