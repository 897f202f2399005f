/** Keeps the hub's interface as the registry has it: raised at the start, in step after each change, mended. */
import { createSocket } from 'node:dgram'
import { networkInterfaces } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { hubAddresses } from '#overlay/addresses.ts'
import type { Plan } from '#overlay/plan.ts'
import type { OpenNetwork } from '../network.ts'
import { prefix, type Peer } from './config.ts'
import { applyRules, hubRules, readRules, removeRules } from './firewall.ts'
import { allowForwarding, endForwarding, type Forwarding } from './forwarding.ts'
import { lower, raise, readPeers, synchronise, type Interface } from './interface.ts'
import type { LivePeer } from './peers.ts'
import { checkRights, type Implementation } from './tools.ts'

export interface Keeper {
  readonly implementation: Implementation
  /** Brings the live peers and the rules in step with a plan. */
  update(plan: Plan): Promise<void>
  /** Lets devices reach the gateway's TCP port. */
  open(port: number): Promise<void>
  /** Takes the interface down and stops keeping it. */
  close(): Promise<void>
}

export interface KeeperEvents {
  /** Something was changed by hand, or taken away, and is right again. */
  mended(what: 'interface' | 'peers' | 'rules'): void
  /** It is not as it should be and could not be mended; tried again at the next look. */
  failed(error: unknown): void
  /** At a look it was as it should be, or is again. */
  kept(): void
  /** The live peers, at each look. MUST NOT reject: the interface is kept whatever becomes of what is told. `fresh`: public keys whose counters began at zero since the last. */
  looked(peers: readonly LivePeer[], fresh: ReadonlySet<string>): Promise<void>
}

/** Soon enough that a call through a vanished interface is only a hiccup; one `wg show` costs some 3 ms. */
const lookEveryMs = 1_000
/** RFC 863: what comes there is not answered. */
const discardPort = 9

/** Raises the interface and keeps it. Throws a `Problem` where it can't be raised at all. */
export async function keepInterface(
  { network, privateKey }: OpenNetwork,
  directory: string,
  plan: Plan,
  events: KeeperEvents,
): Promise<Keeper> {
  const { address4, address6 } = hubAddresses(network)
  const hub: Interface = {
    name: network.interface,
    privateKey,
    listenPort: network.listenPort,
    addresses: [`${address4}/${prefix(network.range4)}`, `${address6}/${prefix(network.range6)}`],
    directory,
  }
  let wanted = plan
  let port: number | undefined
  let forwarding: Forwarding = { opened6: false }
  /** Peers of the last look: one that was not there counts from zero. */
  let seen: ReadonlySet<string> | undefined
  /** Endpoints, by public key. What the plan knows of them may be old. */
  const heardAt = new Map<string, string>()
  /** Of the interface, as they were when it was raised: a kernel may have no IPv6. */
  let addresses: readonly string[] = []
  const applyFirewall = () =>
    applyRules(
      hubRules({
        interface: hub.name,
        ranges: network,
        nodes: wanted.devices,
        rules: wanted.rules,
        port,
        opened6: forwarding.opened6,
      }),
    )
  /** A peer that is live keeps the endpoint that it is heard from; one that is not was heard there last. */
  const peersFor = (live: ReadonlySet<string>): { peers: Peer[]; greeted: Peer[] } => {
    const peers = wanted.peers.map(({ endpoint: told, ...peer }): Peer => {
      const endpoint = heardAt.get(peer.publicKey) ?? told
      return endpoint === undefined || live.has(peer.publicKey) ? peer : { ...peer, endpoint }
    })
    return {
      peers,
      greeted: peers.filter(({ endpoint, allowedIps }) => endpoint !== undefined && allowedIps.length > 0),
    }
  }
  const synchroniseAll = async (): Promise<void> => {
    const { peers, greeted } = peersFor(seen ?? new Set())
    await synchronise(hub, peers)
    greet(greeted)
  }
  const raiseAll = async (): Promise<Implementation> => {
    // The guard stands before there is anything to guard.
    await applyFirewall()
    const left = (await readPeers(hub.name))?.map((peer) => peer.publicKey)
    const { peers, greeted } = peersFor(new Set(left))
    const { implementation, made } = await raise(hub, peers)
    if (made) seen = new Set()
    addresses = addressesOf(hub.name)
    greet(greeted)
    forwarding = await allowForwarding(hub.name)
    if (forwarding.opened6) await applyFirewall()
    return implementation
  }
  const read = async (): Promise<readonly LivePeer[] | undefined> => {
    const peers = await readPeers(hub.name)
    if (!peers) return undefined
    const keys = new Set(peers.map((peer) => peer.publicKey))
    const fresh = seen ? keys.difference(seen) : new Set<string>()
    seen = keys
    for (const { publicKey, endpoint } of peers) if (endpoint !== null) heardAt.set(publicKey, endpoint)
    for (const key of heardAt.keys()) if (!keys.has(key)) heardAt.delete(key)
    await events.looked(peers, fresh)
    return peers
  }
  const look = async (): Promise<void> => {
    const peers = await read()
    const has = new Set(addressesOf(hub.name))
    if (peers === undefined || addresses.some((address) => !has.has(address))) {
      await raiseAll()
      events.mended('interface')
      return
    }
    if (!inStep(peers, wanted.peers)) {
      await synchroniseAll()
      events.mended('peers')
    }
    if ((await readRules(hub.name)) === undefined) {
      await applyFirewall()
      events.mended('rules')
    }
  }

  checkRights()
  const implementation = await raiseAll()
  // One change at a time: a look between two halves of a change would undo it.
  let turn: Promise<void> = Promise.resolve()
  const inTurn = (task: () => Promise<void>): Promise<void> => {
    const done = turn.then(task)
    turn = done.catch(() => {})
    return done
  }
  const stop = new AbortController()
  const watching = (async () => {
    while (await sleeps(lookEveryMs, stop.signal)) {
      await inTurn(look).then(
        () => events.kept(),
        (error: unknown) => events.failed(error),
      )
    }
  })()

  return {
    implementation,
    update: (next) =>
      inTurn(async () => {
        // Counters of a peer that goes now are read for the last time.
        await read()
        wanted = next
        await applyFirewall()
        await synchroniseAll()
      }),
    open: (opened) =>
      inTurn(async () => {
        port = opened
        await applyFirewall()
      }),
    async close() {
      stop.abort()
      await watching
      await inTurn(async () => {
        await read()
        await lower(hub.name)
        await endForwarding(forwarding)
        await removeRules(hub.name)
      })
    },
  }
}

/**
 * Says something to each, so that WireGuard shakes hands with it from here: its own end takes the session that
 * was for alive, and would try anew only after 15 s (WireGuard paper, §6.4).
 */
function greet(peers: readonly Peer[]): void {
  if (peers.length === 0) return
  const socket = createSocket('udp4')
  let left = peers.length
  for (const { allowedIps } of peers)
    socket.send(Buffer.of(0), discardPort, allowedIps[0]?.split('/')[0] ?? '', () => {
      left -= 1
      if (left === 0) socket.close()
    })
}

/** Those that can be used now: an interface that is down has none. */
function addressesOf(name: string): string[] {
  return (networkInterfaces()[name] ?? []).map(({ address }) => address)
}

function inStep(live: readonly LivePeer[], wanted: readonly Peer[]): boolean {
  const allowed = new Map(live.map((peer) => [peer.publicKey, peer.allowedIps.toSorted().join()]))
  return (
    allowed.size === wanted.length &&
    wanted.every((peer) => allowed.get(peer.publicKey) === peer.allowedIps.toSorted().join())
  )
}

async function sleeps(ms: number, signal: AbortSignal): Promise<boolean> {
  return pause(ms, true, { signal, ref: false }).catch(() => false)
}
