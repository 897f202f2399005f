/**
 * The connection under a session: it may break, the session goes on. What goes out is counted and kept until the
 * gateway has had it, what comes in is counted, and a new connection takes up where the old one was.
 * The contract is `LinkEvent` in the gateway's `protocol/events.ts`.
 */
import type { ClientEventInput, LinkEvent, ServerEvent } from '@sotto/gateway/protocol/events.ts'
import { decodeFrame, encodeFrame, type AudioFrame } from '@sotto/gateway/protocol/frame.ts'
import { createOutbox } from '@sotto/gateway/protocol/outbox.ts'

export type Connection = 'connecting' | 'open' | 'reconnecting'

/** Six minutes of speech, or a message with its pictures. */
const maxKeptBytes = 12 * 1024 * 1024

/** The gateway says something every two seconds; after this long without, the connection is dead. */
const silenceMs = 5_000

/** The gateway forgets what it sent by our acknowledgements: each so many messages, and each tick. */
const acknowledgeEvery = 16
const tickMs = 1_000

/** A lost connection is tried again at once, then ever slower, up to this. */
const slowestRetryMs = 8_000

/** What a new session takes from a lost one: all that does not name the old one's items. */
const carried = new Set<ClientEventInput['type']>([
  'conversation.item.create',
  'response.create',
  'input_audio_buffer.commit',
  'input_audio_buffer.clear',
])

export interface Wire {
  send(data: string | Uint8Array<ArrayBuffer>): void
  /** @param code 1000 where nobody comes back to the session */
  close(code?: number): void
}

export interface LinkDeps {
  /** Opens a socket. It MUST tell of every message, and of its end, which may be the end of the attempt. */
  dial(query: string, told: { message(data: string | ArrayBuffer): void; closed(): void }): Wire
  /** The conversation to go on with where the session is gone. */
  conversation(): string | undefined
  event(event: ServerEvent): void
  frame(frame: AudioFrame): void
  changed(connection: Connection): void
  /** Away for too long: what was kept could not be kept any more. */
  overflowed(): void
}

export interface Link {
  open(): void
  /** @param code 1000, the default, where nobody waits for what the session still does */
  close(code?: number): void
  /** Leaves the session for a new one. What was said without a connection, and never reached it, is lost. */
  restart(code: number): void
  /** Tries again now, where it waits to: the network came back, or the page. */
  hurry(): void
  send(event: ClientEventInput): void
  /** A piece of the microphone: 16 kHz, mono. */
  sendSamples(samples: Int16Array): void
}

interface Sent {
  readonly what: ClientEventInput | Int16Array
  readonly data: string | Uint8Array<ArrayBuffer>
}

export function createLink(deps: LinkDeps): Link {
  let wire: Wire | undefined
  /** The session that a new connection asks for. */
  let session: string | undefined
  /** Whether the gateway knows this connection as the session's. */
  let live = false
  let outbox = createOutbox<Sent>(maxKeptBytes)
  let sent = 0
  /** Sent when the gateway was last heard: what came later, it may not have had. */
  let certain = 0
  let samplesSent = 0
  let received = 0
  let acknowledged = 0
  let heardAt = 0
  let attempts = 0
  let retry: ReturnType<typeof setTimeout> | undefined
  let ticking: ReturnType<typeof setInterval> | undefined

  function dial(): void {
    clearTimeout(retry)
    retry = undefined
    heardAt = performance.now()
    const query = new URLSearchParams()
    if (session) {
      query.set('resume', session)
      query.set('received', String(received))
    }
    const conversation = deps.conversation()
    if (conversation) query.set('conversation', conversation)
    const mine: Wire = deps.dial(query.size > 0 ? `?${query}` : '', {
      message: (data) => wire === mine && receive(data),
      closed: () => wire === mine && lose(),
    })
    wire = mine
  }

  function lose(): void {
    drop()
    deps.changed('reconnecting')
    retry = setTimeout(dial, Math.min(slowestRetryMs, 250 * 2 ** attempts) * (0.75 + Math.random() / 2))
    attempts += 1
  }

  function drop(code?: number): void {
    const dead = wire
    wire = undefined
    live = false
    dead?.close(code)
  }

  function tick(): void {
    if (live && received > acknowledged) acknowledge()
    if (wire && performance.now() - heardAt > silenceMs) lose()
  }

  function acknowledge(): void {
    acknowledged = received
    const ack: LinkEvent = { type: 'x.ack', received }
    wire?.send(JSON.stringify(ack))
  }

  function receive(data: string | ArrayBuffer): void {
    heardAt = performance.now()
    if (live) certain = sent
    if (typeof data !== 'string') return receiveFrame(data)
    const event: ServerEvent | LinkEvent = JSON.parse(data)
    if (event.type === 'x.ack') return outbox.acknowledge(event.received)
    if (event.type === 'x.resumed') return resume(event.received)
    const carry = event.type === 'session.created' ? begin(event.session.id) : []
    count()
    deps.event(event)
    for (const { what } of carry) {
      if (what instanceof Int16Array) sendSamples(what)
      else if (carried.has(what.type)) send(what)
    }
  }

  function receiveFrame(data: ArrayBuffer): void {
    count()
    const frame = decodeFrame(new Uint8Array(data))
    // Opus comes to who asked for it.
    if ('samples' in frame) deps.frame(frame)
  }

  function count(): void {
    received += 1
    if (received - acknowledged >= acknowledgeEvery) acknowledge()
  }

  /** A session from nothing; resolves to what the one before can't have had. */
  function begin(id: string): readonly Sent[] {
    const carry = outbox.after(certain) ?? []
    outbox = createOutbox(maxKeptBytes)
    session = id
    sent = certain = samplesSent = received = acknowledged = 0
    goLive()
    return carry
  }

  function resume(had: number): void {
    const again = outbox.after(had)
    if (!again) {
      // Some of what is missing is not kept any more, so nothing after it makes sense there.
      session = undefined
      drop()
      return dial()
    }
    outbox.acknowledge(had)
    goLive()
    for (const { data } of again) wire?.send(data)
  }

  function goLive(): void {
    live = true
    attempts = 0
    deps.changed('open')
  }

  function post(what: Sent['what'], data: Sent['data']): void {
    sent += 1
    if (!outbox.keep({ what, data }, data.length)) deps.overflowed()
    if (live) wire?.send(data)
  }

  function send(event: ClientEventInput): void {
    post(event, JSON.stringify(event))
  }

  function sendSamples(samples: Int16Array): void {
    post(samples, encodeFrame({ stream: 0, offset: samplesSent, samples }))
    samplesSent += samples.length
  }

  return {
    open() {
      dial()
      ticking = setInterval(tick, tickMs)
    },
    close(code = 1000) {
      clearTimeout(retry)
      clearInterval(ticking)
      drop(code)
    },
    restart(code) {
      clearTimeout(retry)
      drop(code)
      session = undefined
      outbox = createOutbox(maxKeptBytes)
      certain = sent = 0
      dial()
    },
    hurry() {
      if (retry === undefined) return
      attempts = 0
      dial()
    },
    send,
    sendSamples,
  }
}
