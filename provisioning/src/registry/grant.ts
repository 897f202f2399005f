/** What friends' gateways may use of ours: models by name, and none that was not granted. */
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { friendTenantId } from './friend-tenant.ts'
import { listFriends } from './friend.ts'
import { bumpRevision } from './network.ts'
import { listTenants, type Tenant } from './tenant.ts'

export interface GrantTable {
  mesh_id: string
  /** A name, where `*` stands for any text. */
  model: string
}

export interface FriendGrants {
  readonly tenant: Tenant
  /** In the order of their names. */
  readonly models: readonly string[]
}

/** No allowance names more. */
const mostModels = 100

/** By mesh: of each friend what it is here, and what it may use. */
export async function readGrants(database: Database): Promise<Map<string, FriendGrants>> {
  const friends = await listFriends(database)
  const tenants = await listTenants(database)
  const grants = await database.selectFrom('grants').selectAll().orderBy('model').execute()
  return new Map(
    friends.flatMap(({ meshId }) => {
      const tenant = tenants.find(({ id }) => id === friendTenantId(meshId))
      const models = grants.filter((grant) => grant.mesh_id === meshId).map(({ model }) => model)
      return tenant ? [[meshId, { tenant, models }]] : []
    }),
  )
}

/**
 * Lets a friend use models of ours from now on. Throws a `Problem`.
 *
 * @param models names, where `*` stands for any text
 */
export async function grantModels(
  database: Database,
  friend: string,
  models: readonly string[],
): Promise<readonly string[]> {
  const wanted = models.map(checkModel)
  return changeGrants(database, friend, async (transaction, mesh_id) => {
    const rows = wanted.map((model) => ({ mesh_id, model }))
    await transaction
      .insertInto('grants')
      .values(rows)
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  })
}

/** Lets a friend use these and no others. Throws a `Problem`. */
export async function setGrants(
  database: Database,
  friend: string,
  models: readonly string[],
): Promise<readonly string[]> {
  const rows = [...new Set(models.map(checkModel))]
  return changeGrants(database, friend, async (transaction, mesh_id) => {
    await transaction.deleteFrom('grants').where('mesh_id', '=', mesh_id).execute()
    if (rows.length === 0) return
    await transaction
      .insertInto('grants')
      .values(rows.map((model) => ({ mesh_id, model })))
      .execute()
  })
}

/** Takes models from a friend. Throws a `Problem` for one that was not granted, and takes none then. */
export async function revokeModels(
  database: Database,
  friend: string,
  models: readonly string[],
): Promise<readonly string[]> {
  return changeGrants(database, friend, async (transaction, meshId) => {
    for (const model of models) {
      const gone = await transaction
        .deleteFrom('grants')
        .where('mesh_id', '=', meshId)
        .where('model', '=', model)
        .returning('model')
        .executeTakeFirst()
      if (!gone)
        throw new Problem(
          'grant_missing',
          `“${model}” is not granted to ${friend}.`,
          '`./sotto federation grants` shows what is, as it was granted.',
        )
    }
  })
}

/** Gives what is granted after it. */
async function changeGrants(
  database: Database,
  name: string,
  change: (transaction: Database, meshId: string) => Promise<void>,
): Promise<readonly string[]> {
  return database.transaction().execute(async (transaction) => {
    const friend = (await listFriends(transaction)).find((one) => one.name === name)
    if (!friend)
      throw new Problem(
        'friend_missing',
        `There is no friend named “${name}”.`,
        '`./sotto federation list` shows their names.',
      )
    await change(transaction, friend.meshId)
    await bumpRevision(transaction)
    const { models = [] } = (await readGrants(transaction)).get(friend.meshId) ?? {}
    if (models.length > mostModels)
      throw new Problem(
        'grants_many',
        `More than ${mostModels} grants to one friend.`,
        'A * stands for any text: for example llama3*.',
      )
    return models
  })
}

function checkModel(model: string): string {
  const name = model.trim()
  if (name.includes('@'))
    throw new Problem(
      'grant_model',
      `“${name}” is a friend’s: what others share with us is passed on to nobody.`,
      'Grant models of your own.',
    )
  if (name !== '' && name.length <= 256 && !/\p{Cc}/u.test(name)) return name
  throw new Problem('grant_model', 'A model’s name has 1 to 256 characters.', 'For example: llama3.2:3b')
}

/** @internal a migration; see `database.ts` */
export async function createGrants(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('grants')
    .addColumn('mesh_id', 'text', (column) => column.notNull())
    .addColumn('model', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('grants_of_meshes', ['mesh_id', 'model'])
    .execute()
}
