/**
 * One direct path to one other device, as a pure state machine: probe, then promote. The hub carries the
 * traffic until the other end has answered over the path itself, and again as soon as it falls silent; so no
 * packet is ever sent into a hole that the path could have known of.
 */
import type { DirectPeer } from '#enrolment/exchange.ts'
import type { PathState } from '#registry/path.ts'

/** What to do next; in this order. */
export type Effect =
  /** Set the peer up anew with this endpoint, so that a handshake goes out at once. */
  | { readonly kind: 'dial'; readonly endpoint: string }
  /** Ask over the path. */
  | { readonly kind: 'ask' }
  /** Send its traffic over the path. */
  | { readonly kind: 'promote' }
  /** Send its traffic by the hub. */
  | { readonly kind: 'demote' }
  /** Take the peer away until the next try. */
  | { readonly kind: 'hangUp' }

export interface PathStatus {
  readonly state: PathState
  readonly reason: string | null
}

/** What is known of this end. */
export interface OwnEnd {
  readonly observed: string | null
  readonly listenPort: number
}

export interface DirectPath {
  readonly status: PathStatus
  /** The peer as the hub tells it now, and our own end. */
  update(peer: DirectPeer, own: OwnEnd): void
  /** The other end answered. */
  answered(now: number): Effect[]
  /**
   * To be called some times a second. `busy`: whether data moved since the last tick. `now` is of a clock that nobody
   * sets; `wall`, milliseconds since the epoch, is what both ends have alike.
   */
  tick(now: number, busy: boolean, wall?: number): Effect[]
}

/** WireGuard sends a handshake at once and again after some 5 s: each endpoint gets both. */
const dialMs = 7_000
/** Both ends try at the same times, so that each NAT is open when the other's packet comes. */
const retryEveryMs = 60_000
const askEveryMs = 500
const idleAskEveryMs = 5_000
const silentAfter = 3
/** By then the other end, which asks as often, has had answers too, and neither dials anew any more. */
const sureAfter = 3

export function createDirectPath(first: DirectPeer, firstOwn: OwnEnd): DirectPath {
  let peer = first
  let own = firstOwn
  let endpoints = endpointsOf(first, firstOwn)
  let phase: 'probing' | 'direct' | 'waiting' = 'probing'
  /** Which endpoint is being dialled; -1 before the first. */
  let at = -1
  let dialledAt = -Infinity
  let retryAt = Infinity
  let askedAt = -Infinity
  let unanswered = 0
  let answers = 0
  let answeredAt = -Infinity
  let reason: string | null = null

  const probe = (): void => {
    phase = 'probing'
    at = -1
    dialledAt = -Infinity
    answers = 0
    answeredAt = -Infinity
  }
  const probing = (now: number, wall: number): Effect[] => {
    if (now - Math.max(dialledAt, answeredAt) < dialMs) return asking(now)
    answers = 0
    at += 1
    const endpoint = endpoints[at]
    if (endpoint !== undefined) {
      dialledAt = now
      askedAt = now
      return [{ kind: 'dial', endpoint }, { kind: 'ask' }]
    }
    if (endpoints.length === 0) {
      reason = `The hub does not see ${peer.name} yet.`
      at = -1
      return []
    }
    phase = 'waiting'
    reason = whyNot(peer, own)
    retryAt = now + retryEveryMs - (wall % retryEveryMs)
    return [{ kind: 'hangUp' }]
  }
  const asking = (now: number): Effect[] => {
    askedAt = now
    return [{ kind: 'ask' }]
  }

  return {
    get status(): PathStatus {
      if (phase === 'direct') return { state: 'direct', reason: null }
      return { state: phase === 'waiting' ? 'relayed' : 'probing', reason }
    },
    update(nextPeer, nextOwn) {
      const told = endpointsOf(nextPeer, nextOwn)
      // A hub that was started anew does not see the others at once: what it said before still holds.
      const next = told.length === 0 ? endpoints : told
      const news = next.join() !== endpoints.join()
      peer = nextPeer
      own = nextOwn
      endpoints = next
      // A path that works is left alone: WireGuard itself follows a peer that roams.
      if (news && phase !== 'direct') probe()
    },
    answered(now) {
      unanswered = 0
      answers += 1
      answeredAt = now
      if (phase !== 'probing' || answers < sureAfter) return []
      phase = 'direct'
      reason = null
      return [{ kind: 'promote' }]
    },
    tick(now, busy, wall = now) {
      if (phase === 'waiting') {
        if (now < retryAt) return []
        probe()
      }
      if (phase === 'probing') return probing(now, wall)
      const every = busy || unanswered > 0 ? askEveryMs : idleAskEveryMs
      if (now - askedAt < every) return []
      if (unanswered >= silentAfter) {
        unanswered = 0
        reason = `${peer.name} fell silent on the direct path.`
        probe()
        // Not dialled anew at once: if the silence was only a pause, the other end still sends this way.
        dialledAt = now
        return [{ kind: 'demote' }, ...asking(now)]
      }
      unanswered += 1
      return asking(now)
    },
  }
}

/** 2000::/3 (RFC 4291 §2.4). */
const globalIpv6 = /^\[[23]/

/** Where the other end may be reached, the likeliest first. */
function endpointsOf({ observed, candidates }: DirectPeer, own: OwnEnd): string[] {
  if (observed === null) return []
  // Behind the same NAT the way round through its outside often does not work, and the inside does.
  if (own.observed !== null && hostOf(observed) === hostOf(own.observed))
    return unique([...candidates, observed])
  return unique([observed, ...candidates.filter((candidate) => globalIpv6.test(candidate))])
}

/** The reason for people, from what both ends know of their NATs. */
function whyNot(peer: DirectPeer, own: OwnEnd): string {
  const rewritten = [
    own.observed !== null && portOf(own.observed) !== own.listenPort
      ? `this device's NAT (UDP ${own.listenPort} became ${portOf(own.observed)})`
      : undefined,
    peer.observed !== null &&
    peer.candidates.length > 0 &&
    !peer.candidates.some((one) => portOf(one) === portOf(peer.observed ?? ''))
      ? `the NAT of ${peer.name} (UDP ${portOf(peer.candidates[0] ?? '')} became ${portOf(peer.observed)})`
      : undefined,
  ].filter((one) => one !== undefined)
  const tried = `No answer from ${peer.name} at ${peer.observed}`
  if (rewritten.length === 0) return `${tried}: a firewall between the two drops UDP.`
  return `${tried}: ${rewritten.join(' and ')} picks ports of its own, as NATs do that use another port for each destination; those can't be passed.`
}

function hostOf(endpoint: string): string {
  return endpoint.slice(0, endpoint.lastIndexOf(':'))
}

function portOf(endpoint: string): number {
  return Number(endpoint.slice(endpoint.lastIndexOf(':') + 1))
}

function unique(endpoints: readonly string[]): string[] {
  return [...new Set(endpoints)]
}
