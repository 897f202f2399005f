/**
 * Brings messages to peers in order and once: sends what has not arrived again, says how far theirs was taken, and
 * packs what waits while the relay's limit is reached. Go-back-N, as simple as it is right; the outbox remembers.
 */
import type { Logger } from 'pino'
import { Failure } from '../failure.ts'
import type { Clock } from './clock.ts'
import type { Link } from './link.ts'
import type { Outbox } from './outbox.ts'
import { maxMessageBytes, writePacket, type Packet } from './packet.ts'

export interface PostDeps {
  readonly outbox: Outbox
  /** The link on which a peer is connected now. */
  route(meshId: string): Pick<Link, 'relay' | 'freeIn'> | undefined
  /** Has a message taken; until it resolves the message has not arrived. `id` is the same when it comes again. */
  deliver(meshId: string, kind: string, message: unknown, id: string): Promise<void>
  readonly clock: Clock
  readonly log: Pick<Logger, 'error'>
}

export interface Post {
  /** On disk when it resolves. Throws a `Failure`. */
  send(meshId: string, kind: string, message: unknown): Promise<void>
  /** What a relay brought from a peer. */
  incoming(meshId: string, packet: Packet): void
  /** The peer is connected, maybe anew: what was on its way may be lost. */
  resume(meshId: string): void
  /** The peer is one no more. */
  forget(meshId: string): void
  close(): void
}

interface Correspondence {
  /** The highest number that was sent since what is not acknowledged was sent from the start. */
  sent: number
  attempts: number
  again: (() => void) | undefined
  /** Waits for the relay's limit. */
  paced: (() => void) | undefined
  acknowledge: (() => void) | undefined
  /** Packets that wait until those before are taken. */
  waiting: number
  turn: Promise<void>
}

export const mostMessages = 10_000
export const mostBytes = 64 * 1024 * 1024
/** Messages that are on their way without being acknowledged. */
const window = 256
const packetsInTurn = 32
/** An acknowledgement may ride with an answer. */
const acknowledgeAfterMs = 50
const againAfterMs = 5_000
const againAtMostMs = 60_000

export function createPost({ outbox, route, deliver, clock, log }: PostDeps): Post {
  const correspondences = new Map<string, Correspondence>()
  let wanted: { readonly message: { meshId: string; kind: string; body: string }; done: Settle }[] = []
  /** By peer, of what is wanted. */
  const ahead = new Map<string, { messages: number; bytes: number }>()
  let closed = false

  const of = (meshId: string): Correspondence => {
    const found = correspondences.get(meshId)
    if (found) return found
    const made: Correspondence = {
      sent: outbox.row(meshId).first - 1,
      attempts: 0,
      again: undefined,
      paced: undefined,
      acknowledge: undefined,
      waiting: 0,
      turn: Promise.resolve(),
    }
    correspondences.set(meshId, made)
    return made
  }
  /** One write to disk for all that was sent in this turn of the event loop. */
  const keep = (): void => {
    const batch = wanted
    wanted = []
    ahead.clear()
    try {
      outbox.add(batch.map(({ message }) => message))
    } catch (error) {
      for (const { done } of batch) done.fail(error)
      return
    }
    for (const { done } of batch) done.settle()
    for (const meshId of new Set(batch.map(({ message }) => message.meshId))) pump(meshId)
  }
  const pump = (meshId: string): void => {
    const state = of(meshId)
    const link = route(meshId)
    if (closed || !link || state.paced) return
    for (;;) {
      const row = outbox.row(meshId)
      state.sent = Math.max(state.sent, row.first - 1)
      const room = row.first + window - state.sent - 1
      const next = room > 0 ? outbox.from(meshId, state.sent + 1, room) : []
      const [first] = next
      if (!first) break
      const wait = link.freeIn()
      if (wait > 0) {
        pace(meshId, state, wait)
        return
      }
      const { payload, count } = writePacket(outbox.taken(meshId), row, next)
      // A packet is made full rather than cut short by the window: each one counts.
      if (count === room && state.sent >= row.first) break
      acknowledged(state)
      link.relay(meshId, payload)
      state.sent = first.number + count - 1
      // One that was silent is asked for a sign of life before it gets all again.
      if (state.attempts > 0) break
    }
    if (state.sent >= outbox.row(meshId).first) sendAgainLater(meshId, state)
  }
  const pace = (meshId: string, state: Correspondence, wait: number): void => {
    // The peer's own going and coming starts it anew.
    if (wait === Infinity) return
    state.paced = clock.after(wait, () => {
      state.paced = undefined
      pump(meshId)
    })
  }
  const sendAgainLater = (meshId: string, state: Correspondence): void => {
    if (state.again) return
    const after = Math.min(againAfterMs * 2 ** state.attempts, againAtMostMs)
    state.again = clock.after(after, () => {
      state.again = undefined
      // While we wait for the relay's limit, the other side may wait for its own to acknowledge.
      if (state.paced) return
      state.attempts += 1
      state.sent = outbox.row(meshId).first - 1
      pump(meshId)
    })
  }
  const acknowledged = (state: Correspondence): void => {
    state.acknowledge?.()
    state.acknowledge = undefined
  }
  const acknowledgeSoon = (meshId: string, afterMs: number): void => {
    const state = of(meshId)
    state.acknowledge ??= clock.after(afterMs, () => {
      state.acknowledge = undefined
      const link = route(meshId)
      const wait = link?.freeIn() ?? Infinity
      if (closed || !link || wait === Infinity) return
      if (wait > 0) acknowledgeSoon(meshId, wait)
      else link.relay(meshId, writePacket(outbox.taken(meshId), outbox.row(meshId), []).payload)
    })
  }
  const arrived = (meshId: string, { epoch, number }: Packet['acknowledged']): void => {
    const row = outbox.row(meshId)
    if (epoch !== row.epoch) return
    const state = of(meshId)
    if (number >= row.next) {
      // It took more than we know of having sent: this state is older than what it was.
      outbox.renumber(meshId, clock.now())
      state.sent = 0
    } else if (number >= row.first) {
      outbox.forget(meshId, number)
      state.attempts = 0
      state.again?.()
      state.again = undefined
    } else return
    pump(meshId)
  }
  const takeAll = async (meshId: string, packet: Packet): Promise<void> => {
    const before = outbox.taken(meshId)
    if (packet.epoch < before.epoch) return
    // What the sender has no more arrived once, in a life of this state that was lost.
    const known = packet.epoch > before.epoch ? 0 : before.number
    let taken = { epoch: packet.epoch, number: Math.max(known, packet.base - 1) }
    for (const [index, { kind, body }] of packet.messages.entries()) {
      const number = packet.start + index
      if (number <= taken.number) continue
      if (closed || number > taken.number + 1) return
      await deliver(meshId, kind, body, `${meshId}/${packet.epoch}/${number}`)
      taken = { epoch: packet.epoch, number }
      // It may have been closed, or the peer gone, while the message was taken.
      if (!closed && correspondences.has(meshId)) outbox.take(meshId, taken)
    }
  }
  return {
    async send(meshId, kind, message) {
      const body = JSON.stringify(message) ?? 'null'
      const bytes = Buffer.byteLength(body)
      const kept = outbox.waiting(meshId)
      const coming = ahead.get(meshId) ?? { messages: 0, bytes: 0 }
      if (bytes > maxMessageBytes)
        throw new Failure('too_large', `A message to another gateway has ${maxMessageBytes} bytes at most.`)
      if (kept.messages + coming.messages >= mostMessages || kept.bytes + coming.bytes + bytes > mostBytes)
        throw new Failure(
          'busy',
          'Too much waits for that gateway already. It has to be there again first.',
          undefined,
          { detail: 'outbox_full' },
        )
      ahead.set(meshId, { messages: coming.messages + 1, bytes: coming.bytes + bytes })
      await new Promise<void>((settle, fail) => {
        wanted.push({ message: { meshId, kind, body }, done: { settle, fail } })
        if (wanted.length === 1) clock.after(0, keep)
      })
    },
    incoming(meshId, packet) {
      if (closed) return
      try {
        arrived(meshId, packet.acknowledged)
      } catch (error) {
        // Nothing of it was taken, so all of it comes again.
        log.error({ err: error, peer: meshId }, 'an acknowledgement could not be taken')
        return
      }
      if (packet.messages.length === 0) return
      const state = of(meshId)
      // What has no room comes again.
      if (state.waiting >= packetsInTurn) return
      state.waiting += 1
      state.turn = state.turn
        .then(() => takeAll(meshId, packet))
        .catch((error: unknown) => log.error({ err: error, peer: meshId }, 'a message could not be taken'))
        .then(() => {
          state.waiting -= 1
          if (!closed) acknowledgeSoon(meshId, acknowledgeAfterMs)
        })
    },
    resume(meshId) {
      const state = of(meshId)
      state.attempts = 0
      state.again?.()
      state.again = undefined
      state.paced?.()
      state.paced = undefined
      state.sent = outbox.row(meshId).first - 1
      pump(meshId)
    },
    forget(meshId) {
      const state = correspondences.get(meshId)
      if (state) stop(state)
      correspondences.delete(meshId)
    },
    close() {
      closed = true
      for (const state of correspondences.values()) stop(state)
    },
  }
}

function stop(state: Correspondence): void {
  state.again?.()
  state.paced?.()
  state.acknowledge?.()
}

interface Settle {
  settle(): void
  fail(error: unknown): void
}
