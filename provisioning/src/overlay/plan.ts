/** What the hub should be, from what the registry says: pure. */
import type { Rule } from './access.ts'
import { pairPresharedKey } from './keys.ts'
import type { Link } from '#registry/link.ts'
import { isAdmitted, type Device } from '#registry/device.ts'
import type { Network } from '#registry/network.ts'
import type { Peer } from '#wireguard/config.ts'

export interface Registry {
  readonly devices: readonly Device[]
  /** Those that are open. */
  readonly links: readonly Link[]
  readonly rules: readonly Rule[]
  /** Where each device was last heard from, `ip:port` by device id. */
  readonly endpoints: ReadonlyMap<string, string>
}

export interface Plan {
  /** An endpoint is where a device was last heard from: for a peer that is not on the interface yet. */
  readonly peers: readonly Peer[]
  /** The devices that may speak now. */
  readonly devices: readonly Device[]
  readonly links: readonly Link[]
  readonly rules: readonly Rule[]
  /** When the plan changes by itself, because something expires: milliseconds since the epoch, or Infinity. */
  readonly until: number
}

/** @param hubPrivateKey preshared keys of pairs are derived from it */
export function makePlan(
  network: Network,
  hubPrivateKey: string,
  { devices, links, rules, endpoints }: Registry,
  now: number = Date.now(),
): Plan {
  const admitted = devices.filter((device) => isAdmitted(device, now))
  const open = links.filter((link) => Date.parse(link.expiresAt) > now)
  const ends = [...admitted.map(({ expiresAt }) => expiresAt), ...open.map(({ expiresAt }) => expiresAt)]
  return {
    peers: [
      ...[...admitted, ...open].map(({ id, publicKey, presharedKey, address4, address6 }) => {
        const endpoint = endpoints.get(id)
        const allowedIps = [`${address4}/32`, `${address6}/128`]
        return { publicKey, presharedKey, allowedIps, ...(endpoint !== undefined && { endpoint }) }
      }),
      // No address of its own: it sends nothing but handshakes, and the hub sees from where.
      ...admitted.flatMap(({ directKey }) =>
        directKey === null
          ? []
          : [
              {
                publicKey: directKey,
                presharedKey: pairPresharedKey(hubPrivateKey, network.publicKey, directKey),
                allowedIps: [],
              },
            ],
      ),
    ],
    devices: admitted,
    links: open,
    rules,
    until: Math.min(...ends.flatMap((end) => (end === null ? [] : [Date.parse(end)])), Infinity),
  }
}
