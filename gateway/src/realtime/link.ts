/**
 * The way to the client and back: JSON events and sound as its protocol has them. A client of ours may be away
 * for a while: what is sent meanwhile, or was on its way, is kept for it.
 */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { LinkEvent, ServerEventBody } from '#protocol/events.ts'
import { encodeFrame, type AudioFrame, type OpusFrame } from '#protocol/frame.ts'
import { createOutbox } from '#protocol/outbox.ts'
import { newId } from './id.ts'

export type Dialect = 'ours' | 'openai'

/** A connection of a client, and the stream of bytes that is under it. */
export interface Wire {
  readonly socket: WebSocket
  readonly stream: Pick<Duplex, 'cork' | 'uncork'>
}

export interface Link {
  readonly dialect: Dialect
  /** Whether somebody is at the other end. */
  readonly live: boolean
  /** Whether this is the connection that it uses. */
  serves(socket: WebSocket): boolean
  send(event: ServerEventBody): void
  /** Sound of an answer, for a client of ours. */
  frame(frame: AudioFrame | OpusFrame): void
  /** Another connection of the same client, which has had so many messages. False where some are gone. */
  attach(wire: Wire, received: number): boolean
  detach(): void
  /** The client sent a message that counts. */
  counted(): void
  acknowledge(received: number): void
  /** Once a second: says that we are here, and what came. */
  beat(): void
  close(code: number, reason: string): void
}

/** A reader that stopped: past it the session ends rather than the gateway's memory. */
const maxUnsentBytes = 8 * 1024 * 1024
/** Two minutes of an answer's sound, and what is said of it. */
const maxKeptBytes = 8 * 1024 * 1024

/** @param overflow the client does not read, or has been away for too much */
export function createLink(first: Wire, dialect: Dialect, overflow: () => void): Link {
  const outbox = createOutbox<string | Uint8Array>(maxKeptBytes)
  let wire: Wire | undefined = first
  let received = 0
  let told = 0
  let quiet = false
  const write = (message: string | Uint8Array): void => {
    if (!wire || wire.socket.readyState !== wire.socket.OPEN) return
    if (wire.socket.bufferedAmount <= maxUnsentBytes) wire.socket.send(message)
    else overflow()
  }
  const say = (message: string | Uint8Array): void => {
    if (dialect === 'ours' && !outbox.keep(message, message.length) && !wire) return overflow()
    write(message)
  }
  const tell = (event: LinkEvent): void => write(JSON.stringify(event))
  /** What happens at once is written, and goes out, in one piece, when what it sets going was asked of the engines. */
  const waiting: (ServerEventBody | AudioFrame | OpusFrame)[] = []
  const flush = (): void => {
    const stream = wire?.stream
    stream?.cork()
    for (const one of waiting.splice(0))
      say('type' in one ? JSON.stringify({ event_id: newId('event'), ...one }) : encodeFrame(one))
    stream?.uncork()
  }
  const soon = (one: (typeof waiting)[number]): void => {
    if (waiting.push(one) === 1) setImmediate(flush)
  }
  return {
    dialect,
    get live() {
      return wire !== undefined
    },
    serves: (socket) => socket === wire?.socket,
    send(event) {
      if (dialect === 'openai' && event.type.startsWith('x.')) return
      soon(event)
    },
    frame: soon,
    attach(next, had) {
      flush()
      const missed = outbox.after(had)
      if (!missed) return false
      const before = wire
      wire = next
      before?.socket.terminate()
      outbox.acknowledge(had)
      tell({ type: 'x.resumed', received })
      for (const message of missed) write(message)
      return true
    },
    detach() {
      wire = undefined
    },
    counted() {
      received += 1
    },
    acknowledge: (had) => outbox.acknowledge(had),
    beat() {
      if (dialect !== 'ours') return
      // Every second beat, too, where nothing came: silence for longer means that the path is cut.
      quiet = received === told && !quiet
      if (quiet) return
      told = received
      tell({ type: 'x.ack', received })
    },
    close(code, reason) {
      flush()
      wire?.socket.close(code, reason)
      wire = undefined
    },
  }
}
