/** A WebSocket as the wire of a mux, and whether the other side is still there. */
import type { RawData, WebSocket } from 'ws'
import { maxFrameBytes, recycle } from './frame.ts'
import { createMux, type Mux, type Stream, type StreamEvents } from './mux.ts'

export interface Link {
  readonly mux: Mux
  /** Closes with a code of RFC 6455 §7.4; the other side reads the reason. */
  close(code: number, reason: string): void
  /** Resolves when the socket is gone, however. */
  readonly closed: Promise<Closed>
}

export interface Closed {
  readonly code: number
  /** For people. */
  readonly reason: string
}

export interface LinkOptions {
  /** Between two pings, ms. */
  readonly pingEveryMs?: number
  accept?(json: string, stream: Stream): StreamEvents
}

/** What both ends tell `ws`. Text and sound of models do not deflate so well that it is worth the CPU. */
export const socketOptions = {
  perMessageDeflate: false,
  maxPayload: maxFrameBytes,
  skipUTF8Validation: true,
} as const

/** A path that is dead, though no end said so, is found within three of them. */
const defaultPingEveryMs = 2_000
const silentPings = 3
/** Data wait here rather than in the socket, so that all streams have their turn. */
const maxBuffered = 128 * 1024

export function openLink(socket: WebSocket, options: LinkOptions = {}): Link {
  const { pingEveryMs = defaultPingEveryMs } = options
  let silent = 0
  let why: Closed | undefined
  const give = (code: number, reason: string): void => {
    why ??= { code, reason }
    mux.close(reason)
  }
  const sent = (frame: Buffer, error?: Error | null): void => {
    if (!error) recycle(frame)
    if (socket.bufferedAmount < maxBuffered) mux.drained()
  }
  const mux = createMux(
    {
      send(frame) {
        if (socket.readyState === socket.OPEN) socket.send(frame, binary, (error) => sent(frame, error))
      },
      get free() {
        return socket.bufferedAmount < maxBuffered
      },
      soon: process.nextTick,
      fail(reason) {
        give(1002, reason)
        socket.close(1002, reason)
        socket.terminate()
      },
    },
    options.accept && ((json, stream) => options.accept?.(json, stream) ?? nobody),
  )
  const alive = (): void => {
    silent = 0
  }
  socket.on('message', (data: RawData) => {
    alive()
    if (data instanceof Buffer) mux.receive(data)
  })
  socket.on('pong', alive)
  socket.on('ping', alive)
  socket.on('error', () => socket.terminate())
  const pings = setInterval(() => {
    silent += 1
    if (silent > silentPings) {
      give(1006, 'the other side is silent')
      socket.terminate()
    } else if (socket.readyState === socket.OPEN) socket.ping()
  }, pingEveryMs)
  const closed = new Promise<Closed>((settle) => {
    socket.once('close', (code: number, reason: Buffer) => {
      clearInterval(pings)
      give(code, reason.toString() || 'the connection broke')
      settle(why ?? { code, reason: '' })
    })
  })
  return {
    mux,
    closed,
    close(code, reason) {
      give(code, reason)
      socket.close(code, reason)
      // One that does not answer is not waited for.
      setTimeout(() => socket.terminate(), pingEveryMs).unref()
    },
  }
}

const binary = { binary: true } as const
const nobody: StreamEvents = { data() {}, end() {}, reset() {} }
