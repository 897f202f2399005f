/** A friend's gateway as a caller: what it was granted, and what its tenant is held to. */
import type { Allowance } from '@sotto/provisioning/registry/allowance.ts'
import { unlimited } from '@sotto/provisioning/registry/allowance.ts'
import type { FriendGrants } from '@sotto/provisioning/registry/grant.ts'
import { heldBy, type Member } from '#identity/caller.ts'
import { tenantOf } from '#identity/directory.ts'

/** Inference, and nothing else, whatever its tenant may. */
const services = ['chat', 'embeddings']

export function memberOf(
  name: string,
  { tenant, models }: FriendGrants,
  allowances: ReadonlyMap<string, Allowance>,
): Member {
  const grants = { ...unlimited, services, models, subject: tenant.id, label: `friend “${name}”` }
  return {
    kind: 'device',
    name,
    tenant,
    admin: false,
    held: [grants, ...heldBy(allowances, tenantOf(tenant))],
  }
}
