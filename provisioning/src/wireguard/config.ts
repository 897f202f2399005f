/** Texts that WireGuard reads: pure, no I/O. Source: wg(8) and wg-quick(8), CONFIGURATION FILE FORMAT. */
import { hubAddresses } from '#overlay/addresses.ts'
import type { Device } from '#registry/device.ts'
import type { Network } from '#registry/network.ts'

/** The IPv6 minimum: it fits every path, also where a phone's network takes some of the usual 1420. */
export const mtu = 1280

/** Below the shortest common lifetime of a NAT mapping, so that answers and calls find the device. */
const keepaliveSeconds = 25

/** What `wg setconf` and `wg syncconf` take for the hub. It holds the private key: a 0600 file, no argv. */
export function hubConfig(network: Network, privateKey: string, devices: readonly Device[]): string {
  const self = section('Interface', { PrivateKey: privateKey, ListenPort: network.listenPort })
  const peers = devices.map((device) =>
    section('Peer', {
      PublicKey: device.publicKey,
      PresharedKey: device.presharedKey,
      AllowedIPs: `${device.address4}/32, ${device.address6}/128`,
    }),
  )
  return [self, ...peers].join('\n')
}

/** The file that a device imports or scans; `wg-quick` and the WireGuard apps take it. */
export function deviceConfig(
  network: Network & { endpoint: string },
  device: Device,
  privateKey: string,
): string {
  return [
    section('Interface', {
      PrivateKey: privateKey,
      Address: `${device.address4}/32, ${device.address6}/128`,
      MTU: mtu,
    }),
    section('Peer', {
      PublicKey: network.publicKey,
      PresharedKey: device.presharedKey,
      Endpoint: network.endpoint,
      // The overlay alone goes through the tunnel; the rest of the device's traffic stays its own.
      AllowedIPs: `${network.range4}, ${network.range6}`,
      PersistentKeepalive: keepaliveSeconds,
    }),
  ].join('\n')
}

/**
 * nftables rules for the weak host model: Linux answers for the overlay's address on any interface, so a
 * neighbour who routes it at us would be served. Nothing from or to the overlay may come by another way,
 * and nothing is forwarded through us. One transaction, and the same again changes nothing.
 */
export function guardRules(network: Network): string {
  const { address4, address6 } = hubAddresses(network)
  const table = guardTable(network)
  const outside = `iifname != { "lo", "${network.interface}" }`
  return `add table inet ${table}
delete table inet ${table}
table inet ${table} {
  chain way_in {
    type filter hook prerouting priority raw; policy accept;
    ${outside} ip daddr ${address4} drop
    ${outside} ip6 daddr ${address6} drop
    ${outside} ip saddr ${network.range4} drop
    ${outside} ip6 saddr ${network.range6} drop
  }
  chain through {
    type filter hook forward priority filter; policy accept;
    iifname "${network.interface}" drop
    oifname "${network.interface}" drop
  }
}
`
}

/** The table's name: one for each interface. */
export function guardTable(network: Network): string {
  return `sotto_${network.interface}`
}

function section(name: string, values: Record<string, string | number>): string {
  const lines = Object.entries(values).map(([key, value]) => `${key} = ${value}`)
  return `[${name}]\n${lines.join('\n')}\n`
}
