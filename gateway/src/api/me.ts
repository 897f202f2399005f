/** Who one is to this gateway, whether one may change things, and what is left of what one may use. */
import { hasAdminPassword } from '@sotto/provisioning/registry/confirmation.ts'
import type { Member } from '#identity/caller.ts'
import type { Me } from '#protocol/admin.ts'
import { confirmationOf } from './admin/confirmed.ts'
import type { LimitsDeps } from './admin/limits.ts'
import { ownDialect } from './envelope.ts'
import type { Route } from './route.ts'

export function meRoute({ database, spent }: LimitsDeps): Route {
  return {
    group: 'member',
    dialect: ownDialect,
    method: 'GET',
    path: '/sotto/me',
    summary: 'Who one is, whether one may change things, and what is left of one’s limits',
    quiet: true,
    async handle(call) {
      const { c, caller } = call
      const until = await confirmationOf(database, call)
      const me: Me = {
        name: caller.name,
        person: caller.person ?? null,
        tenant: caller.tenant.name,
        admin: caller.admin,
        confirmedUntil: until?.toISOString() ?? null,
        hasPassword: caller.admin && (await hasAdminPassword(database)),
        limits: await Promise.all(
          caller.held.map(async (held) => {
            const { subject, label: _, ...limits } = held
            return { party: partyOf(subject, caller), limits, spent: await spent(subject) }
          }),
        ),
      }
      return c.json(me, 200, { 'cache-control': 'no-store' })
    },
  }
}

/** As people name it: `tenant:home`. */
function partyOf(subject: string, { name, key, tenant }: Member): string {
  if (subject.startsWith('tenant:')) return `tenant:${tenant.name}`
  return key ? `key:${key.name}` : `device:${name}`
}
