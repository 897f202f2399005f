/** People: every device and key belongs to one. */
import { randomUUID } from 'node:crypto'
import { sql, type Generated, type Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { removeAccount } from './account.ts'
import { noteDeparture } from './departure.ts'
import { checkName } from './device.ts'
import { removeKeysOf } from './key.ts'
import { bumpRevision } from './network.ts'
import { homeTenant, movePerson } from './tenant.ts'

export interface PersonTable {
  id: string
  name: string
  created_at: string
  tenant_id: Generated<string>
  left_at: Generated<string | null>
}

export interface Person {
  readonly id: string
  readonly name: string
}

/** The person of that name, made where there is none. */
export async function ensurePerson(database: Database, name: string): Promise<Person> {
  const known = await database
    .selectFrom('people')
    .select(['id', 'name'])
    .where('name', '=', name)
    .executeTakeFirst()
  return known ?? insertPerson(database, name)
}

/** The oldest first: the first is the admin. */
export async function listPeople(database: Database): Promise<(Person & { readonly tenantId: string })[]> {
  const rows = await database
    .selectFrom('people')
    .select(['id', 'name', 'tenant_id'])
    .where('left_at', 'is', null)
    .orderBy('created_at')
    .execute()
  return rows.map(({ id, name, tenant_id }) => ({ id, name, tenantId: tenant_id }))
}

/** The admin: the first person there was. */
export async function firstPerson(database: Database): Promise<Person> {
  const [first] = await listPeople(database)
  return first ?? ensurePerson(database, 'admin')
}

/** Whose something new is: the person of that name, made where there is none; the admin where none is named. */
export async function personOf(database: Database, name: string | undefined): Promise<Person> {
  // Else the first who is named on a new network would be its admin.
  const admin = await firstPerson(database)
  return name === undefined ? admin : ensurePerson(database, checkName(name))
}

/** Throws a `Problem` where there is none of that name. */
export async function findPerson(database: Database, name: string): Promise<Person> {
  const row = await database
    .selectFrom('people')
    .select(['id', 'name'])
    .where('name', '=', name.trim().normalize('NFC'))
    .executeTakeFirst()
  if (row) return row
  throw new Problem(
    'person_missing',
    `There is no person named “${name}”.`,
    '`./sotto person list` shows whom there is.',
  )
}

/** @param tenant where it is not the first */
export async function addPerson(database: Database, wanted: string, tenant?: string): Promise<Person> {
  return database.transaction().execute((transaction) => insertNamed(transaction, wanted, tenant))
}

/** {@link addPerson} as part of a larger transaction. */
export async function insertNamed(database: Database, wanted: string, tenant?: string): Promise<Person> {
  const name = checkName(wanted)
  await firstPerson(database)
  await checkFree(database, name)
  const person = await insertPerson(database, name)
  if (tenant !== undefined) await movePerson(database, name, tenant)
  await bumpRevision(database)
  return person
}

/** Changes a name, a tenant or both. Devices, keys and conversations stay theirs. */
export async function changePerson(
  database: Database,
  name: string,
  to: { readonly name?: string | undefined; readonly tenant?: string | undefined },
): Promise<Person> {
  const next = to.name === undefined ? undefined : checkName(to.name)
  return database.transaction().execute(async (transaction) => {
    const person = await findPerson(transaction, name)
    if (to.tenant !== undefined) await movePerson(transaction, person.name, to.tenant)
    if (next === undefined || next === person.name) return person
    await checkFree(transaction, next)
    await transaction.updateTable('people').set({ name: next }).where('id', '=', person.id).execute()
    await bumpRevision(transaction)
    return { id: person.id, name: next }
  })
}

/** Removes one who has nothing any more; rules that name them go, too. */
export async function removePerson(database: Database, name: string): Promise<Person> {
  return database.transaction().execute(async (transaction) => {
    const person = await findPerson(transaction, name)
    const { id } = person
    if ((await firstPerson(transaction)).id === id)
      throw new Problem(
        'person_in_use',
        `${person.name} is the gateway’s admin.`,
        'The admin stays; another name is possible: ./sotto person rename NAME NEW-NAME',
      )
    const theirs = await thingsOf(transaction, id)
    if (theirs.length > 0)
      throw new Problem(
        'person_in_use',
        `${theirs.join(', ')} still belong to ${person.name}.`,
        'Remove them first: ./sotto device remove NAME, ./sotto key remove NAME',
      )
    await letGo(transaction, id)
    await bumpRevision(transaction)
    return person
  })
}

/**
 * Deletes a person’s account as its owner asks: sessions, passkeys, keys and lenders end with it. What others have
 * written of them is noted to be ended: see `departure.ts`.
 */
export async function leave(database: Database, id: string): Promise<void> {
  await database.transaction().execute(async (transaction) => {
    const { name: person } = await transaction
      .selectFrom('people')
      .select('name')
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
    const keys = await removeKeysOf(transaction, id)
    await transaction.deleteFrom('lenders').where('person_id', '=', id).execute()
    await removeAccount(transaction, id)
    const stays = (await firstPerson(transaction)).id === id || (await thingsOf(transaction, id)).length > 0
    if (!stays) await letGo(transaction, id)
    await noteDeparture(transaction, { personId: id, person, keys, gone: !stays })
    await bumpRevision(transaction)
  })
}

/** The row stays, since devices that were removed point to it; its name is free again. */
async function letGo(database: Database, id: string): Promise<void> {
  await removeAccount(database, id)
  await database
    .updateTable('people')
    .set({ name: id, tenant_id: homeTenant.id, left_at: new Date().toISOString() })
    .where('id', '=', id)
    .execute()
  await database
    .deleteFrom('rules')
    .where((rule) =>
      rule.or([rule.and({ from_kind: 'person', from_id: id }), rule.and({ to_kind: 'person', to_id: id })]),
    )
    .execute()
}

/** Names of the devices, keys and waiting links of a person. */
async function thingsOf(database: Database, id: string): Promise<string[]> {
  const named = async (table: 'devices' | 'keys') =>
    (
      await database
        .selectFrom(table)
        .select('name')
        .where('person_id', '=', id)
        .where('removed_at', 'is', null)
        .execute()
    ).map(({ name }) => `“${name}”`)
  const links = await database
    .selectFrom('links')
    .select('name')
    .where('person_id', '=', id)
    .where('used_at', 'is', null)
    .where('expires_at', '>', new Date().toISOString())
    .execute()
  return [
    ...(await named('devices')),
    ...(await named('keys')),
    ...links.map(({ name }) => `the link for “${name}”`),
  ]
}

async function checkFree(database: Database, name: string): Promise<void> {
  const taken = await database.selectFrom('people').select('id').where('name', '=', name).executeTakeFirst()
  if (taken)
    throw new Problem('person_exists', `There is a person named “${name}” already.`, 'Choose another name.')
}

async function insertPerson(database: Database, name: string): Promise<Person> {
  const person = { id: randomUUID(), name }
  await database
    .insertInto('people')
    .values({ ...person, created_at: new Date().toISOString() })
    .execute()
  return person
}

/** @internal a migration; see `database.ts` */
export async function createPeople(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('people')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .addColumn('created_at', 'text', (column) => column.notNull().defaultTo(sql`CURRENT_TIMESTAMP`))
    .execute()
}

/** @internal a migration; see `database.ts` */
export async function letPeopleGo(database: Kysely<unknown>): Promise<void> {
  await database.schema.alterTable('people').addColumn('left_at', 'text').execute()
}
