/** What the live interface says of its peers. Source: wg(8), `show … dump`. */
import ipaddr from 'ipaddr.js'
import type { Peer } from './config.ts'

export interface LivePeer {
  readonly publicKey: string
  /** `ip:port` the peer was last heard from; null before that. */
  readonly endpoint: string | null
  readonly allowedIps: readonly string[]
  /** Unix seconds; null for never. */
  readonly latestHandshake: number | null
  readonly receivedBytes: number
  readonly sentBytes: number
}

/** A session's keys die 180 s after its handshake (WireGuard paper, §6.1): past that a peer is not online. */
const sessionSeconds = 180
/** A clock that is kept is moved by less. */
const aheadSeconds = 10

/**
 * Reads `wg show <interface> dump`. Its first line and second column hold private and preshared keys: they
 * are dropped here and go no further.
 */
export function parsePeers(dump: string): LivePeer[] {
  return dump
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'))
    .filter((fields) => fields.length >= 8)
    .map(([publicKey = '', , endpoint, allowed = '', handshake, received, sent]) => ({
      publicKey,
      endpoint: endpoint === '(none)' ? null : (endpoint ?? null),
      allowedIps: allowed === '(none)' ? [] : allowed.split(','),
      latestHandshake: Number(handshake) || null,
      receivedBytes: Number(received) || 0,
      sentBytes: Number(sent) || 0,
    }))
}

/** What an interface and its peers are set to, secrets too: to be compared, and kept nowhere. */
export interface LiveSettings {
  readonly privateKey: string
  readonly listenPort: number
  /** By public key. */
  readonly peers: ReadonlyMap<string, string>
}

/** Reads the settings of `wg show <interface> dump`. */
export function parseSettings(dump: string): LiveSettings {
  const [own = '', ...lines] = dump.trim().split('\n')
  const [privateKey = '', , listenPort] = own.split('\t')
  const rows = lines.map((line) => line.split('\t')).filter((fields) => fields.length >= 8)
  const peers = rows.map((fields) => {
    const [publicKey = '', presharedKey = '', endpoint = '', allowed = '', , , , keepalive = ''] = fields
    const ranges = allowed === '(none)' ? [] : allowed.split(',')
    return [publicKey, settingsOf(presharedKey, endpoint, ranges, keepalive)] as const
  })
  return { privateKey, listenPort: Number(listenPort), peers: new Map(peers) }
}

/** Whether a live peer is set as it is wanted; one that is wanted at no endpoint may be at any. */
export function isSo(live: string | undefined, peer: Peer): boolean {
  if (live === undefined) return false
  const { presharedKey, endpoint, allowedIps, keepalive } = peer
  const at = endpoint ?? JSON.parse(live)[1]
  return live === settingsOf(presharedKey, at, allowedIps, keepalive ? String(keepalive) : 'off')
}

function settingsOf(
  presharedKey: string,
  endpoint: string,
  ranges: readonly string[],
  keepalive: string,
): string {
  const spelled = ranges.map((range) => {
    if (!ipaddr.isValidCIDR(range)) return range
    const [address, bits] = ipaddr.parseCIDR(range)
    return `${address.toString()}/${bits}`
  })
  return JSON.stringify([presharedKey, endpoint, spelled.toSorted(), keepalive])
}

/** Whether a peer's session is alive at `now` (milliseconds since the epoch). */
export function isOnline(
  peer: Pick<LivePeer, 'latestHandshake'> | undefined,
  now: number = Date.now(),
): boolean {
  if (peer?.latestHandshake == null) return false
  const age = now / 1000 - peer.latestHandshake
  // One of the future was made before the clock was set back, and says nothing.
  return age < sessionSeconds && age > -aheadSeconds
}
