/**
 * A friend's gateway as a caller: a tenant of its own, so that limits, budgets, usage and the audit are those of any
 * other. Nobody else is in it, and it is there as long as the friend is.
 */
import type { Database } from '../database.ts'
import { friendTenants, insertTenant } from './tenant.ts'

/** The same when it joins again, so that what it spent is not forgotten. */
export function friendTenantId(meshId: string): string {
  return friendTenants + meshId
}

/** Part of the transaction that makes it a friend. Throws a `Problem` where its tenant's name is taken. */
export async function admitFriend(
  database: Database,
  { name, meshId }: { readonly name: string; readonly meshId: string },
): Promise<void> {
  await insertTenant(database, { id: friendTenantId(meshId), name: `friend-${name}` })
}

/** Part of the transaction that ends it: what was granted goes, too. */
export async function dismissFriend(database: Database, meshId: string): Promise<void> {
  const id = friendTenantId(meshId)
  await database.deleteFrom('grants').where('mesh_id', '=', meshId).execute()
  await database.deleteFrom('tenants').where('id', '=', id).execute()
  await database.deleteFrom('allowances').where('subject', '=', `tenant:${id}`).execute()
}
