/**
 * Where devices that run `sotto join` learn of each other: whom they may reach, with which keys, and under
 * which endpoints. The hub sees each device's endpoint as the internet does, since it handshakes with the very
 * socket that the others will (wgsd's idea); a device adds the addresses it has on its own network.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { mayReach } from '#overlay/access.ts'
import { hubAddresses } from '#overlay/addresses.ts'
import { pairPresharedKey } from '#overlay/keys.ts'
import type { Plan } from '#overlay/plan.ts'
import type { Device } from '#registry/device.ts'
import type { Network } from '#registry/network.ts'
import type { LivePeer } from '#wireguard/peers.ts'

const directPeer = z.object({
  id: z.string(),
  name: z.string(),
  /** Of its interface for direct paths. */
  publicKey: z.string(),
  presharedKey: z.string(),
  address4: z.string(),
  address6: z.string(),
  /** As the hub sees it: `ip:port`; null while it does not. */
  observed: z.string().nullable(),
  /** As it sees itself. */
  candidates: z.array(z.string()),
})

/** What a joined device is told: the whole of its part in the network. */
export const networkView = z.object({
  /** Another one for each other content. */
  version: z.string(),
  self: z.object({
    id: z.string(),
    name: z.string(),
    address4: z.string(),
    address6: z.string(),
    keepalive: z.number(),
    /** As the hub sees it. */
    observed: z.string().nullable(),
  }),
  hub: z.object({
    publicKey: z.string(),
    presharedKey: z.string(),
    /** Between the hub and the device's interface for direct paths. */
    directPresharedKey: z.string(),
    endpoint: z.string(),
    address4: z.string(),
    address6: z.string(),
    range4: z.string(),
    range6: z.string(),
    port: z.number(),
  }),
  peers: z.array(directPeer),
})

export type NetworkView = z.infer<typeof networkView>
export type DirectPeer = z.infer<typeof directPeer>

export interface Exchange {
  /** Takes up the registry. */
  update(network: Network, plan: Plan): void
  /** Takes up what the hub's interface sees. */
  observe(peers: readonly LivePeer[]): void
  /** Takes up a device's own addresses, as `ip:port`. */
  offer(deviceId: string, candidates: readonly string[]): void
  /** A device's part; undefined for one that is not in the network or did not join. */
  view(deviceId: string): NetworkView | undefined
  /** Resolves when a device's part is not `version` any more, or when the signal ends the wait. */
  changed(deviceId: string, version: string, signal: AbortSignal): Promise<NetworkView | undefined>
}

export function createExchange(hubPrivateKey: string): Exchange {
  let network: Network | undefined
  let plan: Plan | undefined
  const observed = new Map<string, string>()
  const candidates = new Map<string, readonly string[]>()
  const waiting = new Set<() => void>()
  const wake = (): void => {
    for (const look of waiting) look()
  }

  const view = (deviceId: string): NetworkView | undefined => {
    const self = plan?.devices.find(({ id }) => id === deviceId)
    if (!network || !plan || !self || self.directKey === null || network.endpoint === null) return undefined
    const { rules, devices } = plan
    const content = {
      self: {
        id: self.id,
        name: self.name,
        address4: self.address4,
        address6: self.address6,
        keepalive: self.keepalive,
        observed: observed.get(self.directKey) ?? null,
      },
      hub: {
        publicKey: network.publicKey,
        presharedKey: self.presharedKey,
        directPresharedKey: pairPresharedKey(hubPrivateKey, network.publicKey, self.directKey),
        endpoint: network.endpoint,
        ...hubAddresses(network),
        range4: network.range4,
        range6: network.range6,
        port: network.gatewayPort ?? 0,
      },
      // A direct path has no hub to hold a one-way rule, so it is for pairs that may open either way.
      peers: devices
        .filter((peer) => peer.id !== self.id && mayReach(self, peer, rules) && mayReach(peer, self, rules))
        .flatMap((peer) => directPeerOf(self.directKey ?? '', peer)),
    }
    return { version: createHash('sha256').update(JSON.stringify(content)).digest('base64url'), ...content }
  }
  const directPeerOf = (own: string, { directKey, ...peer }: Device): DirectPeer[] =>
    directKey === null
      ? []
      : [
          {
            id: peer.id,
            name: peer.name,
            publicKey: directKey,
            presharedKey: pairPresharedKey(hubPrivateKey, own, directKey),
            address4: peer.address4,
            address6: peer.address6,
            observed: observed.get(directKey) ?? null,
            candidates: [...(candidates.get(peer.id) ?? [])],
          },
        ]

  return {
    update(nextNetwork, next) {
      network = nextNetwork
      plan = next
      wake()
    },
    observe(peers) {
      const direct = new Set(plan?.devices.map(({ directKey }) => directKey))
      let news = false
      for (const { publicKey, endpoint } of peers) {
        if (endpoint === null || !direct.has(publicKey) || observed.get(publicKey) === endpoint) continue
        observed.set(publicKey, endpoint)
        news = true
      }
      if (news) wake()
    },
    offer(deviceId, own) {
      if (candidates.get(deviceId)?.join() === own.join()) return
      candidates.set(deviceId, own)
      wake()
    },
    view,
    changed: (deviceId, version, signal) =>
      new Promise((settle) => {
        const look = (): void => {
          const now = view(deviceId)
          if (now?.version !== version || signal.aborted) done(now)
        }
        const done = (now: NetworkView | undefined): void => {
          waiting.delete(look)
          signal.removeEventListener('abort', look)
          settle(now)
        }
        waiting.add(look)
        signal.addEventListener('abort', look)
        look()
      }),
  }
}
