/**
 * A device that joins by a one-time link and stays in step: it makes its own keys, enrols over the overlay at
 * the link's place, raises its interface, and follows what the hub tells it.
 */
import { X509Certificate } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { chmod, mkdir } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { parseLink, type LinkContent } from '#enrolment/link.ts'
import type { NetworkView } from '#enrolment/exchange.ts'
import { hubAddresses } from '#overlay/addresses.ts'
import { makeKeyPair } from '#overlay/keys.ts'
import { applyRules, deviceRules, removeRules } from '#wireguard/firewall.ts'
import { freeName, lower, raise, readPeers, synchronise, type Interface } from '#wireguard/interface.ts'
import type { Peer } from '#wireguard/config.ts'
import { isOnline } from '#wireguard/peers.ts'
import { findImplementation, run, type Implementation } from '#wireguard/tools.ts'
import { checkRoutes } from '../network.ts'
import { Problem } from '../problem.ts'
import { acceptEitherWay, openDirectPaths, type DirectPaths } from './direct-paths.ts'
import { createGatewayClient, type GatewayClient } from './gateway-client.ts'
import { readMembership, writeMembership, type Membership } from './membership.ts'

export interface Joined {
  readonly membership: Membership
  readonly implementation: Implementation
  /** Undefined where direct paths can't be had on this machine. */
  readonly direct: DirectPaths | undefined
  close(): Promise<void>
}

export interface JoinEvents {
  /** For people: one line. */
  notice(text: string): void
  failed(error: unknown): void
}

/** A device's way to the gateway may take some handshakes. */
const enrolMs = 30_000
/** A hub that moved is found by its name again (wireguard-tools, contrib/reresolve-dns). */
const resolveEveryMs = 30_000
const longestPauseMs = 10_000

/** Enrols by a link and keeps what came of it. Throws a `Problem`; a link that was not used stays good. */
export async function enrolByLink(directory: string, text: string): Promise<Membership> {
  const link = parseLink(text)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await chmod(directory, 0o700)
  if (await readMembership(directory))
    throw new Problem(
      'joined_already',
      'This machine has joined a network already.',
      'Go on with `sotto join`, leave it with `sotto join --leave`, or name another --state DIR.',
    )
  await findImplementation()
  await checkRoutes(link.range4)
  const [pair, direct] = [makeKeyPair(), makeKeyPair()]
  const hub = hubAddresses(link)
  const origin = `https://${hub.address4}:${link.port}`
  const place: Interface = {
    name: freeName('sotto'),
    privateKey: link.privateKey,
    listenPort: await freePort(),
    addresses: [`${link.address4}/32`, `${link.address6}/128`],
    directory,
  }
  try {
    await applyRules(deviceRules([place.name], link, link))
    await raise(place, [peerOf({ ...link, publicKey: link.hub })])
    await routeTo(place.name, [`${hub.address4}/32`])
    const rootCertificate = await fetchRoot(origin, link)
    const client = createGatewayClient(origin, rootCertificate)
    try {
      const view = await insist(() =>
        client.enrol(link.token, { publicKey: pair.publicKey, directKey: direct.publicKey }),
      )
      const membership: Membership = {
        v: 1,
        origin,
        rootCertificate,
        interface: place.name,
        privateKey: pair.privateKey,
        listenPort: await freePort(),
        directPrivateKey: direct.privateKey,
        directListenPort: await freePort(),
        view,
      }
      await writeMembership(directory, membership)
      return membership
    } finally {
      await client.close()
    }
  } finally {
    await lower(place.name)
    await removeRules(place.name)
  }
}

/** Raises the interfaces and keeps them in step until closed. */
export async function keepJoined(directory: string, first: Membership, events: JoinEvents): Promise<Joined> {
  let membership = first
  const { interface: name } = first
  const directName = `${name}d`
  await checkRoutes(first.view.hub.range4, [name, directName])
  const self: Interface = {
    name,
    privateKey: first.privateKey,
    listenPort: first.listenPort,
    addresses: [`${first.view.self.address4}/32`, `${first.view.self.address6}/128`],
    directory,
  }
  await applyRules(deviceRules([name, directName], first.view.hub, first.view.self))
  const { implementation } = await raise(self, [hubPeer(first.view)])
  await acceptEitherWay(name)
  await routeTo(name, [first.view.hub.range4, first.view.hub.range6])
  await firstHandshake(name)
  const client = createGatewayClient(first.origin, first.rootCertificate)
  const stop = new AbortController()
  let told = ''
  const direct = await openDirectPaths({
    name: directName,
    privateKey: first.directPrivateKey,
    listenPort: first.directListenPort,
    directory,
    view: first.view,
    changed(peer, { state, reason }, endpoint) {
      const how = state === 'direct' ? `direct${endpoint === null ? '' : `, ${endpoint}`}` : state
      events.notice(`${peer}: ${how}${reason === null ? '' : `. ${reason}`}`)
    },
    failed: events.failed,
  }).catch((error: unknown) => {
    events.notice('No direct paths on this machine: they need IPv6, and it is off here. All goes by the hub.')
    events.failed(error)
    return undefined
  })
  await direct?.update(first.view)

  const take = async (view: NetworkView): Promise<void> => {
    if (JSON.stringify(hubPeer(view)) !== JSON.stringify(hubPeer(membership.view)))
      await synchronise(self, [hubPeer(view)])
    membership = { ...membership, view }
    await writeMembership(directory, membership)
    await direct?.update(view)
  }
  const loops = [
    follow(client, stop.signal, () => membership.view.version, {
      take,
      events,
      greetHub: async () => {
        told = ''
        await direct?.greetHub()
      },
    }),
    repeat(stop.signal, 1_000, async () => {
      if (!direct) return
      const now = JSON.stringify([direct.candidates(), direct.paths()])
      if (now === told) return
      await client.report(direct.candidates(), direct.paths())
      told = now
    }),
    repeat(stop.signal, resolveEveryMs, async () => {
      const peers = await readPeers(name)
      if (peers === undefined) {
        await raise(self, [hubPeer(membership.view)])
        await routeTo(name, [membership.view.hub.range4, membership.view.hub.range6])
        events.notice('The WireGuard interface had been taken away: mended.')
      } else if (!peers.some((peer) => isOnline(peer))) await synchronise(self, [hubPeer(membership.view)])
    }),
  ]
  return {
    membership,
    implementation,
    direct,
    async close() {
      stop.abort()
      await Promise.all(loops)
      await direct?.close()
      await client.close()
      await lower(name)
      await removeRules(name)
    },
  }
}

/** Whoever is told that it is in can use it. A hub that is away is no reason to wait for long. */
async function firstHandshake(name: string): Promise<void> {
  for (let waited = 0; waited < 3_000; waited += 50) {
    if ((await readPeers(name))?.some((peer) => isOnline(peer))) return
    await pause(50)
  }
}

interface FollowDeps {
  take(view: NetworkView): Promise<void>
  readonly events: JoinEvents
  /** The hub may have been started anew, and know nothing of what we told it. */
  greetHub(): Promise<void>
}

/** Follows the network; a hub that is away is asked again, and all that is up stays up. */
async function follow(
  client: GatewayClient,
  signal: AbortSignal,
  version: () => string,
  { take, events, greetHub }: FollowDeps,
): Promise<void> {
  let failures = 0
  while (!signal.aborted)
    try {
      const view = await client.network(version(), signal)
      if (failures > 0) {
        events.notice('The hub answers again.')
        await greetHub()
      }
      failures = 0
      if (view.version !== version()) await take(view)
    } catch (error) {
      if (signal.aborted) return
      failures += 1
      if (failures === 1) events.notice('The hub does not answer; direct paths go on without it.')
      events.failed(error)
      const wait = Math.min(500 * 2 ** failures, longestPauseMs) * (0.75 + Math.random() / 2)
      await pause(wait, undefined, { signal, ref: false }).catch(() => {})
    }
}

/** A failure is tried again at the next time: the loop that follows the network tells of it. */
async function repeat(signal: AbortSignal, everyMs: number, task: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await task().catch(() => {})
    await pause(everyMs, undefined, { signal, ref: false }).catch(() => {})
  }
}

function hubPeer({ hub, self }: NetworkView): Peer {
  return peerOf({ ...hub, keepalive: self.keepalive })
}

function peerOf(
  hub: Pick<NetworkView['hub'], 'publicKey' | 'presharedKey' | 'endpoint' | 'range4' | 'range6'> & {
    readonly keepalive?: number
  },
): Peer {
  const { publicKey, presharedKey, endpoint, range4, range6, keepalive = 25 } = hub
  return { publicKey, presharedKey, endpoint, keepalive, allowedIps: [range4, range6] }
}

async function routeTo(name: string, ranges: readonly string[]): Promise<void> {
  for (const range of ranges)
    // Where IPv6 is off there is no route to set, and nothing to reach by it.
    await run('ip', [range.includes(':') ? '-6' : '-4', 'route', 'replace', range, 'dev', name]).catch(
      (error: unknown) => {
        if (!range.includes(':')) throw error
      },
    )
}

/** The CA comes over the tunnel, which proves the hub, and must be the one that the link names. */
async function fetchRoot(origin: string, { fingerprint }: LinkContent): Promise<string> {
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false, timeout: 5_000 } })
  try {
    const pem = await insist(async () => (await request(`${origin}/ca.crt`, { dispatcher })).body.text())
    if (fingerprintOf(pem) === fingerprint) return pem
    throw new Problem(
      'wrong_ca',
      'The certificate authority there is not the one that the link names.',
      'Ask for a new link, and ask the admin whether the gateway was set up anew.',
    )
  } finally {
    await dispatcher.close()
  }
}

function fingerprintOf(pem: string): string | undefined {
  try {
    return new X509Certificate(pem).fingerprint256
  } catch {
    return undefined
  }
}

/** Tries until it works; what the gateway itself refuses is not tried again. */
async function insist<T>(task: () => Promise<T>): Promise<T> {
  const until = performance.now() + enrolMs
  for (;;)
    try {
      return await task()
    } catch (error) {
      if (error instanceof Problem) throw error
      if (performance.now() > until)
        throw new Problem(
          'hub_silent',
          'The hub does not answer.',
          'Check that its gateway runs, and that its UDP port is reachable from here: `./sotto doctor` there. The link is still good.',
          error,
        )
      await pause(500)
    }
}

function freePort(): Promise<number> {
  const socket = createSocket('udp4')
  return new Promise((settle) => {
    socket.bind(0, () => {
      const { port } = socket.address()
      socket.close(() => settle(port))
    })
  })
}
