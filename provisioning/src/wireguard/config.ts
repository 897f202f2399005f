/** Texts that WireGuard reads: pure, no I/O. Source: wg(8) and wg-quick(8), CONFIGURATION FILE FORMAT. */
import { hubAddresses } from '#overlay/addresses.ts'
import type { Device } from '#registry/device.ts'
import type { Network } from '#registry/network.ts'

/** The IPv6 minimum: it fits every path, also where a phone's network takes some of the usual 1420. */
export const mtu = 1280

export interface Peer {
  readonly publicKey: string
  readonly presharedKey: string
  /** CIDR. Unique in the network: WireGuard takes an address from one peer for another without a word. */
  readonly allowedIps: readonly string[]
  /** `host:port`; left out, the peer's own is kept as last heard from. */
  readonly endpoint?: string
  /** Seconds. */
  readonly keepalive?: number
}

export interface Self {
  readonly privateKey: string
  /** UDP; left out, any. */
  readonly listenPort?: number
}

/** What `wg setconf` and `wg syncconf` take. It holds the private key: a 0600 file, no argv. */
export function interfaceConfig({ privateKey, listenPort }: Self, peers: readonly Peer[]): string {
  const self = section('Interface', { PrivateKey: privateKey, ...(listenPort && { ListenPort: listenPort }) })
  return [self, ...peers.map(peerSection)].join('\n')
}

/** What `wg addconf` takes: peers that are new, or are to be as here from now on. */
export function peersConfig(peers: readonly Peer[]): string {
  return peers.map(peerSection).join('\n')
}

/** The hub as a file that `wg-quick` takes, for those who would rather raise it themselves. */
export function hubConfig(network: Network, privateKey: string, peers: readonly Peer[]): string {
  const { address4, address6 } = hubAddresses(network)
  const self = section('Interface', {
    PrivateKey: privateKey,
    Address: `${address4}/${prefix(network.range4)}, ${address6}/${prefix(network.range6)}`,
    ListenPort: network.listenPort,
    MTU: mtu,
  })
  return [self, ...peers.map(peerSection)].join('\n')
}

/** The file that a device imports or scans; `wg-quick`, NetworkManager and the WireGuard apps take it. */
export function deviceConfig(
  network: Network & { endpoint: string },
  device: Pick<Device, 'address4' | 'address6' | 'presharedKey' | 'keepalive'>,
  privateKey: string,
): string {
  return [
    section('Interface', {
      PrivateKey: privateKey,
      Address: `${device.address4}/32, ${device.address6}/128`,
      MTU: mtu,
    }),
    peerSection({
      publicKey: network.publicKey,
      presharedKey: device.presharedKey,
      endpoint: network.endpoint,
      // The overlay alone goes through the tunnel; the rest of the device's traffic stays its own.
      allowedIps: [network.range4, network.range6],
      keepalive: device.keepalive,
    }),
  ].join('\n')
}

/** Bits of a CIDR range. */
export function prefix(range: string): string {
  return range.split('/')[1] ?? ''
}

function peerSection({ publicKey, presharedKey, allowedIps, endpoint, keepalive }: Peer): string {
  return section('Peer', {
    PublicKey: publicKey,
    PresharedKey: presharedKey,
    ...(endpoint !== undefined && { Endpoint: endpoint }),
    ...(allowedIps.length > 0 && { AllowedIPs: allowedIps.join(', ') }),
    ...(keepalive && { PersistentKeepalive: keepalive }),
  })
}

function section(name: string, values: Record<string, string | number>): string {
  const lines = Object.entries(values).map(([key, value]) => `${key} = ${value}`)
  return `[${name}]\n${lines.join('\n')}\n`
}
