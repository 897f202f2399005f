/** Who there is beside devices, and what each may use, at one moment: what a gateway decides by. */
import type { Database } from '../database.ts'
import { readAllowances, type Allowance } from './allowance.ts'
import { listKeys, type Key } from './key.ts'
import { listTenants, type Tenant } from './tenant.ts'

export interface Access {
  readonly keys: readonly Key[]
  /** By person id. */
  readonly tenants: ReadonlyMap<string, Tenant>
  /** The admin's tenant, to which this machine itself belongs. */
  readonly host: Tenant
  /** Id of the person who is the admin: the first there was. */
  readonly admin: string | undefined
  /** By subject: `tenant:ID`, `key:ID`, `device:ID`. */
  readonly allowances: ReadonlyMap<string, Allowance>
  /** When some of it ends by itself: milliseconds since the epoch, or Infinity. */
  readonly until: number
}

export async function readAccess(database: Database, now: number = Date.now()): Promise<Access> {
  return database.transaction().execute(async (transaction) => {
    const tenants = await listTenants(transaction)
    const people = await transaction
      .selectFrom('people')
      .select(['id', 'tenant_id'])
      .where('left_at', 'is', null)
      .orderBy('created_at')
      .execute()
    const [first] = tenants
    if (!first) throw new Error('unreachable: the first tenant is made with the tables and stays')
    const of = (id: string | undefined) => tenants.find((tenant) => tenant.id === id) ?? first
    const keys = await listKeys(transaction)
    const ends = keys.flatMap(({ expiresAt, secrets }) => [expiresAt, ...secrets.map((one) => one.expiresAt)])
    return {
      keys,
      tenants: new Map(people.map(({ id, tenant_id }) => [id, of(tenant_id)])),
      host: of(people[0]?.tenant_id),
      admin: people[0]?.id,
      allowances: await readAllowances(transaction),
      until: Math.min(
        ...ends.flatMap((end) => (end === null ? [] : [Date.parse(end)])).filter((end) => end > now),
        Infinity,
      ),
    }
  })
}
