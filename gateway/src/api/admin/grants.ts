/** What friends' gateways may use of ours, and what they share with us. */
import { listFriends } from '@sotto/provisioning/registry/friend.ts'
import { readGrants, setGrants } from '@sotto/provisioning/registry/grant.ts'
import { z } from 'zod'
import type { Friends } from '#friends/friends.ts'
import type { FriendStatus, GrantList } from '#protocol/admin.ts'
import type { Route } from '../route.ts'
import { changing, type ChangeDeps } from './change.ts'
import { reading } from './reading.ts'

export interface GrantsDeps extends ChangeDeps {
  readonly sharing: Pick<Friends, 'all' | 'ours'>
}

const grants = z.strictObject({ models: z.array(z.string().min(1).max(256)).max(100) })

export function grantRoutes(deps: GrantsDeps): Route[] {
  const { database, sharing } = deps
  return [
    reading('/sotto/admin/grants', 'What each friend may use of ours, and shares with us', async () => {
      return { friends: await statusesOf(deps), models: sharing.ours } satisfies GrantList
    }),
    changing(deps, {
      method: 'PUT',
      path: '/sotto/admin/grants/:friend',
      summary: 'Say which models of ours a friend may use, and no others',
      body: grants,
      async apply({ models }, { c }) {
        const name = c.req.param('friend') ?? ''
        await setGrants(database, name, models)
        return (await statusesOf(deps)).find((one) => one.name === name)
      },
    }),
  ]
}

async function statusesOf({ database, sharing }: GrantsDeps): Promise<FriendStatus[]> {
  const granted = await readGrants(database)
  return (await listFriends(database)).map(({ name, meshId }) => {
    const live = sharing.all.find((one) => one.name === name)
    return {
      name,
      connected: live?.connected ?? false,
      granted: granted.get(meshId)?.models ?? [],
      shared: live?.models ?? [],
    }
  })
}
