/** Our place on our own relay: in this process, without a limit. */
import type { Link, LinkEvents } from './link.ts'
import type { Relay } from './relay.ts'

export const ownVia = 'own'

export function createOwnLink(
  relay: Pick<Relay, 'enter'>,
  self: { readonly meshId: string; readonly name: string },
  events: LinkEvents,
): Link {
  const seat = relay.enter({
    ...self,
    // A message is taken in another turn than the one in which it is sent.
    incoming: (fromMeshId, _name, payload) =>
      queueMicrotask(() => events.incoming(link, fromMeshId, payload)),
    changed: () => events.changed(link),
    arrived: (meshId) => events.renewed(link, meshId),
  })
  const link: Link = {
    via: ownVia,
    meshId: self.meshId,
    get instances() {
      return seat.instances
    },
    find: (meshId) => seat.find(meshId),
    freeIn: () => 0,
    relay: (target, payload) => seat.relay(target, payload),
    announce: (rooms) => seat.announce(rooms),
    close() {},
  }
  return link
}
