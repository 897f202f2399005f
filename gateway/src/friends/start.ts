/** Model sharing over the registry: who is a friend, what each was granted, and how it is reached. */
import type { Database } from '@sotto/provisioning/database.ts'
import type { Access } from '@sotto/provisioning/registry/access.ts'
import { listFriends } from '@sotto/provisioning/registry/friend.ts'
import { readGrants } from '@sotto/provisioning/registry/grant.ts'
import { createFriends, type Friends, type FriendsDeps } from './friends.ts'
import { memberOf } from './member.ts'

export interface Sharing {
  readonly friends: Omit<Friends, 'update' | 'close'>
  /** Takes up the registry: who is a friend no more is cut off, and what was granted or taken is told. */
  update(access: Access): Promise<void>
  close(): Promise<void>
}

export function startSharing({ database, ...deps }: FriendsDeps & { readonly database: Database }): Sharing {
  const friends = createFriends(deps)
  return {
    friends,
    async update({ allowances }) {
      const grants = await readGrants(database)
      const known = await listFriends(database)
      friends.update(
        known.flatMap(({ name, meshId, relay }) => {
          const granted = grants.get(meshId)
          const member = granted && memberOf(name, granted, allowances)
          return member ? [{ name, meshId, member, ...(relay && { dial: relay }) }] : []
        }),
      )
    },
    close: friends.close,
  }
}
