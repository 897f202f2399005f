/** What the live interface says of its peers. Source: wg(8), `show … dump`. */

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
      receivedBytes: Number(received),
      sentBytes: Number(sent),
    }))
}

/** Whether a peer's session is alive at `now` (milliseconds since the epoch). */
export function isOnline(
  peer: Pick<LivePeer, 'latestHandshake'> | undefined,
  now: number = Date.now(),
): boolean {
  return peer?.latestHandshake != null && now / 1000 - peer.latestHandshake < sessionSeconds
}
