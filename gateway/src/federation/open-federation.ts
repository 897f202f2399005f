/** The federation as it runs: our place on our own relay and on those of friends, and one post over all of them. */
import type { Friend } from '@sotto/provisioning/registry/friend.ts'
import type { Logger } from 'pino'
import { Failure } from '../failure.ts'
import { systemClock, type Clock } from './clock.ts'
import type { Federation, Peer } from './federation.ts'
import type { Instance } from './frames.ts'
import type { Link, LinkEvents } from './link.ts'
import { createMember, type Member, type MemberStatus } from './member.ts'
import type { Outbox, Waiting } from './outbox.ts'
import { readPacket } from './packet.ts'
import { createOwnLink, ownVia } from './own-link.ts'
import { createPost } from './post.ts'
import type { Relay } from './relay.ts'

export interface OpenFederation extends Federation {
  /** Takes up who our friends are, and which meshes may be on our relay. Connections begin with the first call. */
  update(friends: readonly Friend[], meshes: readonly { readonly meshId: string }[]): void
  /** Of our connection to a friend's relay; undefined where we joined none of its. */
  statusOf(friend: string): MemberStatus | undefined
  /** What waits for a peer. */
  waiting(meshId: string): Waiting
  close(): void
}

export interface FederationDeps {
  readonly self: { readonly meshId: string; readonly name: string }
  readonly relay: Pick<Relay, 'enter'>
  readonly outbox: Outbox
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  readonly clock?: Clock
}

type Take = Parameters<Federation['receive']>[1]

/** Those that are no friends of ours but met on a friend's relay. */
const mostStrangers = 1_000
/** Of the list of rooms, as JSON: a frame of 10 KiB has more in it. */
const longestRooms = 8_000

export function openFederation(deps: FederationDeps): OpenFederation {
  const { self, outbox, log, clock = systemClock } = deps
  const takers = new Map<string, Take>()
  const watchers = new Set<() => void>()
  const members = new Map<string, Member>()
  /** Which meshes were on a relay when we looked last. */
  const seen = new Map<string, ReadonlySet<string>>()
  let friends = new Map<string, Friend>()
  let rooms: readonly string[] = []
  let telling = false

  /** The one relay by which a mesh is reached: one that says it is a friend of ours elsewhere is none. */
  const viaOf = (meshId: string): string | undefined => {
    const friend = friends.get(meshId)
    if (friend) return friend.direction === 'invited' ? ownVia : friend.meshId
    return outbox.via(meshId) ?? links().find((link) => link.find(meshId))?.via
  }
  const links = (): Link[] => [own, ...members.values()]
  const linkTo = (meshId: string): Link | undefined => {
    const via = viaOf(meshId)
    const link = via === ownVia ? own : members.get(via ?? '')
    return link?.find(meshId) ? link : undefined
  }
  const isSelf = (meshId: string): boolean =>
    meshId === self.meshId || links().some((link) => link.meshId === meshId)
  /** A friend's is ours to give; of others it says where they are, so that none passes for a friend. */
  const nameOf = (meshId: string, link: Link, given: string): string => {
    const friend = friends.get(meshId)
    if (friend) return friend.name
    const taken = [...friends.values()].some(({ name }) => name === given)
    if (link === own) return taken ? `${given}@${self.name}` : given
    return `${given}@${friends.get(link.via)?.name ?? ''}`
  }
  const present = (link: Link, { meshId, name, publicRooms: there }: Instance): Peer => ({
    meshId,
    name: nameOf(meshId, link, name),
    connected: true,
    rooms: there,
  })
  const away = (meshId: string, name: string): Peer => ({ meshId, name, connected: false, rooms: [] })
  const peerOf = (meshId: string): Peer => {
    const link = linkTo(meshId)
    const instance = link?.find(meshId)
    if (link && instance) return present(link, instance)
    const known = friends.get(meshId) ?? outbox.peers.find((one) => one.meshId === meshId)
    return away(meshId, known?.name ?? meshId)
  }
  const peers = (): Peer[] => {
    const found = new Map<string, Peer>()
    for (const { meshId, name } of [...outbox.peers, ...[...friends.values()].filter(isGateway)])
      if (!isSelf(meshId)) found.set(meshId, away(meshId, friends.get(meshId)?.name ?? name))
    for (const link of links())
      for (const instance of link.instances)
        if (!isSelf(instance.meshId) && viaOf(instance.meshId) === link.via)
          found.set(instance.meshId, present(link, instance))
    return [...found.values()]
  }
  const tell = (): void => {
    if (telling) return
    telling = true
    queueMicrotask(() => {
      telling = false
      for (const watcher of watchers) watcher()
    })
  }
  /** Known from now on, whether it is connected or not. Throws a `Failure` where there is no such peer. */
  const bind = (meshId: string): void => {
    const via = viaOf(meshId)
    const bound = outbox.via(meshId)
    if (via === undefined || isSelf(meshId) || (friends.has(meshId) && !isGateway(friends.get(meshId))))
      throw new Failure('not_found', 'No gateway of that name is known here.', undefined, {
        detail: 'no_peer',
      })
    if (bound === undefined && !friends.has(meshId) && outbox.peers.length >= mostStrangers)
      throw new Failure('busy', 'Too many gateways that are no friends are known already.')
    outbox.bind(meshId, via, peerOf(meshId).name, clock.now())
  }
  const events: LinkEvents = {
    changed(link) {
      const now = new Set(link.instances.map(({ meshId }) => meshId))
      const before = seen.get(link.via)
      seen.set(link.via, now)
      for (const meshId of now) if (!before?.has(meshId) && viaOf(meshId) === link.via) resume(meshId)
      tell()
    },
    renewed(link, meshId) {
      for (const one of meshId === undefined ? link.instances.map((instance) => instance.meshId) : [meshId])
        if (viaOf(one) === link.via) resume(one)
    },
    incoming(link, fromMeshId, payload) {
      const packet = readPacket(payload)
      if (!packet || isSelf(fromMeshId)) return
      try {
        if (viaOf(fromMeshId) !== link.via) throw new Error('a mesh speaks where it is not ours to hear')
        bind(fromMeshId)
      } catch (error) {
        log.warn({ err: error, mesh: fromMeshId.slice(0, 100), via: link.via }, 'a message was not heard')
        return
      }
      post.incoming(fromMeshId, packet)
    },
  }
  const resume = (meshId: string): void => {
    if (outbox.waiting(meshId).messages > 0) post.resume(meshId)
  }
  const post = createPost({
    outbox,
    route: linkTo,
    async deliver(meshId, kind, message, id) {
      const take = takers.get(kind)
      // Of a newer gateway, maybe: what can't be read must not keep back what can.
      if (!take) return log.warn({ peer: meshId, kind }, 'nobody takes messages of this kind')
      await take(peerOf(meshId), message, id)
    },
    clock,
    log,
  })
  const own = createOwnLink(deps.relay, self, events)

  const keepMembers = (): void => {
    for (const [via, member] of members) {
      const relay = friends.get(via)?.relay
      if (relay && relay.url === member.place.url && relay.secret === member.place.secret) continue
      member.close()
      members.delete(via)
      seen.delete(via)
    }
    for (const { meshId: via, relay } of friends.values())
      if (relay && !members.has(via))
        members.set(via, createMember({ via, relay, rooms: () => rooms, events, clock }))
  }
  return {
    self,
    get peers() {
      return peers()
    },
    watch(listener) {
      watchers.add(listener)
      return () => void watchers.delete(listener)
    },
    async send(meshId, kind, message) {
      bind(meshId)
      await post.send(meshId, kind, message)
    },
    receive(kind, take) {
      takers.set(kind, take)
    },
    announce(wanted) {
      const now = fitting(wanted)
      if (JSON.stringify(now) === JSON.stringify(rooms)) return
      rooms = now
      for (const link of links()) link.announce(now)
    },
    update(all, meshes) {
      friends = new Map(all.map((friend) => [friend.meshId, friend]))
      const registered = new Set(meshes.map(({ meshId }) => meshId))
      keepMembers()
      const gone = outbox.forgetWhere((meshId, via) =>
        via === ownVia ? !registered.has(meshId) : !friends.has(via),
      )
      for (const meshId of gone) post.forget(meshId)
      tell()
    },
    statusOf: (friend) => members.get(friend)?.status,
    waiting: (meshId) => outbox.waiting(meshId),
    close() {
      post.close()
      for (const link of links()) link.close()
      outbox.close()
    },
  }
}

/** A relay that is no gateway itself is known by its address. */
function isGateway(friend: Friend | undefined): boolean {
  return friend !== undefined && friend.meshId !== friend.relay?.url
}

/** As many as a frame has room for: one that is too large would not be heard at all. */
function fitting(rooms: readonly string[]): string[] {
  const found: string[] = []
  let length = 0
  for (const room of rooms) {
    length += JSON.stringify(room).length + 1
    if (length > longestRooms) break
    found.push(room)
  }
  return found
}
