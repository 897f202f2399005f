/**
 * The way to the client and back: JSON events and sound as its protocol has them. A client of ours may be away
 * for a while: what is sent meanwhile, or was on its way, is kept for it.
 */
import type { WebSocket } from 'ws'
import type { LinkEvent, ServerEventBody } from '#protocol/events.ts'
import { encodeFrame, type AudioFrame, type OpusFrame } from '#protocol/frame.ts'
import { createOutbox } from '#protocol/outbox.ts'
import { newId } from './id.ts'

export type Dialect = 'ours' | 'openai'

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
  attach(socket: WebSocket, received: number): boolean
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
export function createLink(first: WebSocket, dialect: Dialect, overflow: () => void): Link {
  const outbox = createOutbox<string | Uint8Array>(maxKeptBytes)
  let socket: WebSocket | undefined = first
  let received = 0
  let told = 0
  let quiet = false
  const write = (message: string | Uint8Array): void => {
    if (socket?.readyState !== socket?.OPEN) return
    if ((socket?.bufferedAmount ?? 0) <= maxUnsentBytes) socket?.send(message)
    else overflow()
  }
  const say = (message: string | Uint8Array): void => {
    if (dialect === 'ours' && !outbox.keep(message, message.length) && !socket) return overflow()
    write(message)
  }
  const tell = (event: LinkEvent): void => write(JSON.stringify(event))
  return {
    dialect,
    get live() {
      return socket !== undefined
    },
    serves: (one) => one === socket,
    send(event) {
      if (dialect === 'openai' && event.type.startsWith('x.')) return
      say(JSON.stringify({ event_id: newId('event'), ...event }))
    },
    frame: (frame) => say(encodeFrame(frame)),
    attach(next, had) {
      const missed = outbox.after(had)
      if (!missed) return false
      const before = socket
      socket = next
      before?.terminate()
      outbox.acknowledge(had)
      tell({ type: 'x.resumed', received })
      for (const message of missed) write(message)
      return true
    },
    detach() {
      socket = undefined
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
      socket?.close(code, reason)
      socket = undefined
    },
  }
}
