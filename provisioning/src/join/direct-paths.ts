/**
 * The interface for direct paths, and a path on it to each other joined device. Routes alone decide what rides
 * on it: both this interface and the one to the hub always take what comes in, so whichever way the other end
 * sends, and whenever it changes, nothing is lost.
 */
import { writeFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import type { DirectPeer, NetworkView } from '#enrolment/exchange.ts'
import { publicKeyOf } from '#overlay/keys.ts'
import type { Path } from '#registry/path.ts'
import { lower, raise, readPeers, removePeer, renewPeer, type Interface } from '#wireguard/interface.ts'
import type { LivePeer } from '#wireguard/peers.ts'
import { run } from '#wireguard/tools.ts'
import { createDirectPath, type DirectPath, type Effect } from './direct-path.ts'
import { linkLocal, openHeartbeat, type Heartbeat } from './heartbeat.ts'

export interface DirectPaths {
  /** The peers as the hub tells them now. */
  update(view: NetworkView): Promise<void>
  /** Shows the hub where we are at once, rather than at the next handshake: it may have forgotten. */
  greetHub(): Promise<void>
  /** This device's own endpoints, as it sees them itself. */
  candidates(): string[]
  paths(): Omit<Path, 'since'>[]
  /** Takes the interface away: everything goes by the hub. */
  close(): Promise<void>
}

export interface DirectPathsOptions {
  readonly name: string
  readonly privateKey: string
  readonly listenPort: number
  readonly directory: string
  readonly view: NetworkView
  /** A path has another state now. */
  changed(peer: string, path: DirectPath['status'], endpoint: string | null): void
  failed(error: unknown): void
}

interface Entry {
  peer: DirectPeer
  readonly path: DirectPath
  /** Bytes at the last tick. */
  moved: number
  shown: string
}

const tickMs = 500
/** Keeps the NAT's mapping for the socket that the others are told of. */
const hubKeepalive = 25
const peerKeepalive = 15
/** What the asking itself moves in one tick, with WireGuard's and IP's headers and a keepalive. */
const idleBytes = 700

export async function openDirectPaths(options: DirectPathsOptions): Promise<DirectPaths> {
  const { name, privateKey, listenPort, directory, changed, failed } = options
  const publicKey = publicKeyOf(privateKey)
  const self: Interface = {
    name,
    privateKey,
    listenPort,
    // Of its IPv4 address too: on an interface without one the kernel drops what has its way back by another.
    addresses: [`${linkLocal(publicKey)}/64`, `${options.view.self.address4}/32`],
    directory,
  }
  const entries = new Map<string, Entry>()
  let { view } = options
  let live = new Map<string, LivePeer>()
  // What a crash left: routes of it must not stand while nobody watches the paths.
  await lower(name)
  await raise(self, [hubPeer(view)])
  await acceptEitherWay(name)
  // One thing at a time: an answer must not promote a path that is being hung up.
  let turn: Promise<void> = Promise.resolve()
  const inTurn = (task: () => Promise<void>): Promise<void> => {
    const done = turn.then(task)
    turn = done.catch(failed)
    return done
  }
  const heartbeat: Heartbeat = await openHeartbeat(
    { name, publicKey },
    () => [...entries.keys()],
    (key) =>
      void inTurn(async () => {
        const entry = entries.get(key)
        if (entry) await act(entry, entry.path.answered(performance.now()))
      }).catch(() => {}),
  ).catch(async (error: unknown) => {
    await lower(name)
    throw error
  })
  const own = () => ({ observed: view.self.observed, listenPort })

  const act = async (entry: Entry, effects: readonly Effect[]): Promise<void> => {
    const { peer } = entry
    for (const effect of effects) {
      if (effect.kind === 'dial') await renewPeer(self, directPeer(peer, effect.endpoint))
      if (effect.kind === 'ask') heartbeat.ask(peer.publicKey)
      if (effect.kind === 'promote') await route('replace', peer)
      if (effect.kind === 'demote') await route('delete', peer)
      if (effect.kind === 'hangUp') await removePeer(name, peer.publicKey)
    }
    const status = JSON.stringify(entry.path.status)
    if (status === entry.shown) return
    entry.shown = status
    changed(peer.name, entry.path.status, live.get(peer.publicKey)?.endpoint ?? null)
  }
  const route = async (how: 'replace' | 'delete', { address4, address6 }: DirectPeer): Promise<void> => {
    for (const [family, range, source] of [
      ['-4', `${address4}/32`, view.self.address4],
      ['-6', `${address6}/128`, view.self.address6],
    ] as const)
      // Connections that are open keep the address they have.
      await run('ip', [
        family,
        'route',
        how,
        range,
        'dev',
        name,
        ...(how === 'replace' ? ['src', source] : []),
      ])
  }
  const drop = async ({ path, peer }: Entry): Promise<void> => {
    if (path.status.state === 'direct') await route('delete', peer)
    await removePeer(name, peer.publicKey)
    entries.delete(peer.publicKey)
  }

  const stop = new AbortController()
  const ticking = (async () => {
    while (await pause(tickMs, true, { signal: stop.signal, ref: false }).catch(() => false))
      await inTurn(async () => {
        live = new Map((await readPeers(name))?.map((peer) => [peer.publicKey, peer]))
        for (const entry of entries.values()) {
          const peer = live.get(entry.peer.publicKey)
          const moved = (peer?.receivedBytes ?? 0) + (peer?.sentBytes ?? 0)
          const busy = moved - entry.moved > idleBytes
          entry.moved = moved
          await act(entry, entry.path.tick(performance.now(), busy, Date.now()))
        }
      }).catch(() => {})
  })()

  return {
    update: (next) =>
      inTurn(async () => {
        const hubMoved = JSON.stringify(hubPeer(next)) !== JSON.stringify(hubPeer(view))
        view = next
        if (hubMoved) await renewPeer(self, hubPeer(view))
        const wanted = new Map(next.peers.map((peer) => [peer.publicKey, peer]))
        for (const entry of entries.values())
          if (isOther(entry.peer, wanted.get(entry.peer.publicKey))) await drop(entry)
        for (const peer of next.peers) {
          const entry = entries.get(peer.publicKey)
          if (entry) {
            entry.peer = peer
            entry.path.update(peer, own())
          } else
            entries.set(peer.publicKey, { peer, path: createDirectPath(peer, own()), moved: 0, shown: '' })
        }
      }),
    greetHub: () => inTurn(() => renewPeer(self, hubPeer(view))),
    candidates: () => ownAddresses(name).map((address) => `${address}:${listenPort}`),
    paths: () => [...entries.values()].map(({ peer, path }) => ({ peerId: peer.id, ...path.status })),
    async close() {
      stop.abort()
      await ticking
      await inTurn(async () => {
        heartbeat.close()
        await lower(name)
      })
    },
  }
}

/** Without addresses: it carries handshakes alone, by which the hub sees our endpoint. */
function hubPeer({ hub }: NetworkView) {
  return {
    publicKey: hub.publicKey,
    presharedKey: hub.directPresharedKey,
    endpoint: hub.endpoint,
    allowedIps: [],
    keepalive: hubKeepalive,
  }
}

function directPeer({ publicKey, presharedKey, address4, address6 }: DirectPeer, endpoint: string) {
  return {
    publicKey,
    presharedKey,
    endpoint,
    allowedIps: [`${address4}/32`, `${address6}/128`, `${linkLocal(publicKey)}/128`],
    keepalive: peerKeepalive,
  }
}

function isOther(peer: DirectPeer, now: DirectPeer | undefined): boolean {
  return now?.address4 !== peer.address4 || now.address6 !== peer.address6 || now.id !== peer.id
}

/** Addresses that another device may reach us at: not of a tunnel, nor of this machine alone. */
function ownAddresses(direct: string): string[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    `${name}d` === direct || name === direct
      ? []
      : addresses
          .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
          .map(({ family, address }) => (family === 'IPv6' ? `[${address}]` : address)),
  )
}

/** Strict reverse-path filtering would drop what comes by the one interface while the other has the route. */
export async function acceptEitherWay(name: string): Promise<void> {
  await writeFile(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, '2').catch(() => {})
}
