/**
 * The way to the client and back: JSON events and sound as its protocol has them. A client of ours may be away
 * for a while: what is sent meanwhile, or was on its way, is kept for it.
 */
import type { WebSocket } from 'ws'
import type { LinkEvent, Place, ServerEventBody } from '#protocol/events.ts'
import { encodeFrame } from '#protocol/frame.ts'
import { createOutbox } from '#protocol/outbox.ts'
import { newId } from './id.ts'

export type Dialect = 'ours' | 'openai'

export interface Link {
  readonly dialect: Dialect
  /** Whether somebody is at the other end. */
  readonly live: boolean
  send(event: ServerEventBody): void
  /** PCM16 mono at 24 kHz. */
  sound(stream: Stream, samples: Int16Array): void
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

/** Where a sound belongs, and how much of it went before. */
export interface Stream {
  readonly place: Place
  readonly number: number
  offset: number
  /** For clients that want another format than PCM. */
  encode(samples: Int16Array): Buffer
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
    send(event) {
      if (dialect === 'openai' && event.type.startsWith('x.')) return
      say(JSON.stringify({ event_id: newId('event'), ...event }))
    },
    sound(stream, samples) {
      if (dialect === 'ours')
        say(encodeFrame({ stream: stream.number, offset: stream.offset, samples }))
      else
        say(
          JSON.stringify({
            event_id: newId('event'),
            type: 'response.output_audio.delta',
            ...stream.place,
            delta: stream.encode(samples).toString('base64'),
          }),
        )
      stream.offset += samples.length
    },
    attach(next, had) {
      const missed = outbox.after(had)
      if (!missed) return false
      socket = next
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
