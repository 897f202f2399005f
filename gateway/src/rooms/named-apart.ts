/** Gateways by names that are theirs alone. */
import type { Federation, Peer } from '#federation/federation.ts'
import { limits, oneLine } from './room.ts'

/**
 * The same federation, with names that tell its peers apart: whom we know by a friend's relay alone says itself how it
 * is called, and might say what a friend of ours is called.
 */
export function namedApart(federation: Federation): Federation {
  return {
    self: federation.self,
    get peers() {
      const peers = federation.peers.map((peer) => ({
        ...peer,
        name: readable(peer),
        rooms: peer.rooms.filter((room) => isShort(room, limits.name)),
      }))
      const counts = Map.groupBy(peers, ({ name }) => name.toLowerCase())
      return peers.map((peer) =>
        (counts.get(peer.name.toLowerCase())?.length ?? 0) > 1
          ? { ...peer, name: `${peer.name.slice(0, 50)}~${peer.meshId.slice(0, 8)}` }
          : peer,
      )
    },
    watch: (listener) => federation.watch(listener),
    send: (meshId, kind, message) => federation.send(meshId, kind, message),
    receive: (kind, take) => federation.receive(kind, take),
    announce: (rooms) => federation.announce(rooms),
  }
}

function readable({ name, meshId }: Peer): string {
  return isShort(name.trim(), limits.personName) ? name.trim() : meshId.slice(0, 8)
}

function isShort(text: string, most: number): boolean {
  return text.length <= most && oneLine.test(text)
}
