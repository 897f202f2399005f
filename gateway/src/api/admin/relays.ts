/** Friends' gateways and other meshes: who is on our relay, and whose relay we joined. */
import { listFriends, removeFriend } from '@sotto/provisioning/registry/friend.ts'
import { listMeshes, listMeshInvitations } from '@sotto/provisioning/registry/mesh.ts'
import { z } from 'zod'
import { inviteFriend } from '#federation/invitation.ts'
import { joinRelay } from '#federation/join.ts'
import type { OpenFederation } from '#federation/open-federation.ts'
import type { Relay } from '#federation/relay.ts'
import type { InvitationAnswer, JoinedStatus, MeshStatus, RelayList } from '#protocol/admin.ts'
import type { Route } from '../route.ts'
import { changing, nothing, type ChangeDeps } from './change.ts'
import { made, name, named } from './named.ts'
import { reading } from './reading.ts'

export interface RelaysDeps extends ChangeDeps {
  /** Directory of the CA. */
  readonly certs: string
  readonly relay: Pick<Relay, 'meshes'>
  readonly federation: Pick<OpenFederation, 'self' | 'statusOf' | 'waiting'>
  /** Where our relay is reached. */
  relayAddresses(): readonly string[]
}

const relays = '/sotto/admin/relays'
const invitation = z.strictObject({ name })
const joining = z.strictObject({ url: z.string().max(500), name, code: z.string().max(1_000) })

export function relayRoutes(deps: RelaysDeps): Route[] {
  const { database, certs } = deps
  return [
    reading(relays, 'Meshes on the relay, and relays that were joined', () => readRelays(deps)),
    changing(deps, {
      method: 'POST',
      path: `${relays}/invitations`,
      summary: 'A code by which a friend’s gateway joins, once; shown now or never',
      body: invitation,
      status: 201,
      async apply(wanted, call) {
        const invited: InvitationAnswer = await inviteFriend(database, certs, wanted.name)
        made(call, relays, invited.name)
        return invited
      },
    }),
    changing(deps, {
      method: 'POST',
      path: `${relays}/joined`,
      summary: 'Join a friend’s gateway by its invitation',
      body: joining,
      status: 201,
      async apply(wanted, call) {
        const joined = await joinRelay(database, wanted)
        made(call, relays, joined.name)
        return { name: joined.name, url: joined.url }
      },
    }),
    changing(deps, {
      method: 'DELETE',
      path: `${relays}/:name`,
      summary: 'End it with a friend or a mesh, or take an invitation back',
      body: nothing,
      async apply(_, call) {
        await removeFriend(database, named(call))
        return undefined
      },
    }),
  ]
}

async function readRelays(deps: RelaysDeps): Promise<RelayList> {
  const { database, federation, relay } = deps
  const friends = await listFriends(database)
  const live = new Map(relay.meshes.map((one) => [one.meshId, one]))
  const meshes = (await listMeshes(database)).map((mesh): MeshStatus => {
    const { meshId, createdAt } = mesh
    const now = live.get(meshId)
    return {
      name: mesh.name,
      meshId,
      friend: friends.some((friend) => friend.meshId === meshId),
      connected: now !== undefined,
      rooms: now?.rooms ?? [],
      messages: now?.messages ?? 0,
      waiting: federation.waiting(meshId).messages,
      address: now?.address ?? mesh.address,
      at: now?.since.toISOString() ?? mesh.lastAt,
      createdAt,
    }
  })
  const joined = friends.flatMap(({ name: friend, meshId, relay: place, createdAt }): JoinedStatus[] => {
    if (!place) return []
    const status = federation.statusOf(meshId)
    return [
      {
        name: friend,
        url: place.url,
        state: status?.state ?? 'connecting',
        since: status?.since?.toISOString() ?? null,
        lastError: status?.lastError ?? null,
        waiting: federation.waiting(meshId).messages,
        createdAt,
      },
    ]
  })
  const invitations = await listMeshInvitations(database)
  return {
    self: federation.self,
    addresses: deps.relayAddresses(),
    meshes,
    joined,
    invitations: invitations.map(({ name: invited, expiresAt }) => ({ name: invited, expiresAt })),
  }
}
