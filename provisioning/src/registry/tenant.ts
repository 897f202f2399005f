/** Tenants: a family, a team, a guest. They own people, and through them devices and keys. */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { checkName } from './device.ts'
import { bumpRevision } from './network.ts'

export interface TenantTable {
  id: string
  name: string
  created_at: string
  disabled_at: string | null
}

export interface Tenant {
  readonly id: string
  readonly name: string
  /** ISO 8601. While set, nothing of it is served. */
  readonly disabledAt: string | null
}

export interface TenantView extends Tenant {
  /** Names of its people. */
  readonly people: readonly string[]
}

/** Whoever is moved nowhere else belongs to the tenant that there is from the start. */
export const homeTenant = { id: 'home', name: 'home' } as const

export async function addTenant(database: Database, wanted: string): Promise<Tenant> {
  const name = checkName(wanted)
  return database
    .transaction()
    .execute((transaction) => insertTenant(transaction, { id: randomUUID(), name }))
}

/** Part of a larger transaction. Throws a `Problem` where the name is taken. */
export async function insertTenant(
  database: Database,
  { id, name }: Pick<Tenant, 'id' | 'name'>,
): Promise<Tenant> {
  if (await tenantNamed(database, name))
    throw new Problem('tenant_exists', `There is a tenant named “${name}” already.`, 'Choose another name.')
  const row = { id, name, created_at: new Date().toISOString(), disabled_at: null }
  await database.insertInto('tenants').values(row).execute()
  await bumpRevision(database)
  return toTenant(row)
}

export async function listTenants(database: Database): Promise<TenantView[]> {
  const rows = await database.selectFrom('tenants').selectAll().orderBy('created_at').orderBy('id').execute()
  const people = await database
    .selectFrom('people')
    .select(['name', 'tenant_id'])
    .where('left_at', 'is', null)
    .orderBy('name')
    .execute()
  return rows.map((row) => ({
    ...toTenant(row),
    people: people.filter(({ tenant_id }) => tenant_id === row.id).map(({ name }) => name),
  }))
}

/** Throws a `Problem` where there is none of that name. */
export async function findTenant(database: Database, name: string): Promise<Tenant> {
  const row = await tenantNamed(database, name)
  if (row) return toTenant(row)
  throw new Problem(
    'tenant_missing',
    `There is no tenant named “${name}”.`,
    '`./sotto tenant list` shows their names.',
  )
}

/** Ends what it has open within a second; its people, devices and keys stay as they are. */
export async function setTenantDisabled(
  database: Database,
  name: string,
  disabled: boolean,
): Promise<Tenant> {
  return database.transaction().execute(async (transaction) => {
    const { id } = await findTenant(transaction, name)
    const row = await transaction
      .updateTable('tenants')
      .set({ disabled_at: disabled ? new Date().toISOString() : null })
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirstOrThrow()
    await bumpRevision(transaction)
    return toTenant(row)
  })
}

/** Devices and keys go where their person goes. Part of a larger transaction. */
export async function movePerson(database: Database, person: string, tenant: string): Promise<Tenant> {
  const to = await findTenant(database, tenant)
  if (isFriends(to))
    throw new Problem(
      'tenant_in_use',
      `“${to.name}” is a friend’s gateway: no person is in it.`,
      'Choose another tenant.',
    )
  await database.updateTable('people').set({ tenant_id: to.id }).where('name', '=', person).execute()
  await bumpRevision(database)
  return to
}

export async function removeTenant(database: Database, name: string): Promise<Tenant> {
  return database.transaction().execute(async (transaction) => {
    const tenant = await findTenant(transaction, name)
    if (isFriends(tenant))
      throw new Problem(
        'tenant_in_use',
        `“${tenant.name}” is a friend’s gateway.`,
        'It goes with the friend: ./sotto federation remove NAME',
      )
    const { people = [] } = (await listTenants(transaction)).find(({ id }) => id === tenant.id) ?? {}
    if (tenant.id === homeTenant.id || people.length > 0)
      throw new Problem(
        'tenant_in_use',
        tenant.id === homeTenant.id
          ? 'The first tenant stays: who is in no other one is there.'
          : `${people.join(', ')} belong to “${tenant.name}”.`,
        `Move them first: ./sotto tenant move PERSON ${homeTenant.name}`,
      )
    await transaction.deleteFrom('tenants').where('id', '=', tenant.id).execute()
    await transaction.deleteFrom('allowances').where('subject', '=', `tenant:${tenant.id}`).execute()
    await bumpRevision(transaction)
    return tenant
  })
}

/** Of a friend's gateway; see `friend-tenant.ts`. */
export const friendTenants = 'friend:'

function isFriends({ id }: Pick<Tenant, 'id'>): boolean {
  return id.startsWith(friendTenants)
}

async function tenantNamed(database: Database, name: string): Promise<TenantTable | undefined> {
  return database
    .selectFrom('tenants')
    .selectAll()
    .where('name', '=', name.trim().normalize('NFC'))
    .executeTakeFirst()
}

function toTenant(row: TenantTable): Tenant {
  return { id: row.id, name: row.name, disabledAt: row.disabled_at }
}

/** @internal a migration; see `database.ts` */
export async function createTenants(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('tenants')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('disabled_at', 'text')
    .execute()
  const typed = database.withTables<{ tenants: TenantTable }>()
  await typed
    .insertInto('tenants')
    .values({ ...homeTenant, created_at: new Date(0).toISOString(), disabled_at: null })
    .execute()
  await database.schema
    .alterTable('people')
    .addColumn('tenant_id', 'text', (column) => column.notNull().defaultTo(homeTenant.id))
    .execute()
}
