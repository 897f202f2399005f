/** Two ends of a tunnel without a network: what one sends, the other gets at once. */
import { createMux, type Mux, type Stream, type StreamEvents } from './mux.ts'

export interface Ends {
  readonly gateway: Mux
  readonly lender: Mux
  /** Frames from the lender to the gateway go no further while false. */
  free: boolean
  /** Bytes that the lender sent. */
  readonly sent: number
  readonly failures: readonly string[]
  /** Hands the gateway a frame that the lender never made. */
  forge(frame: Buffer): void
}

export function connectMuxes(accept: (json: string, stream: Stream) => StreamEvents): Ends {
  const failures: string[] = []
  const seen = { free: true, sent: 0 }
  const gateway: Mux = createMux({
    send: (frame) => lender.receive(frame),
    free: true,
    soon: (task) => task(),
    fail: (reason) => failures.push(reason),
  })
  const lender: Mux = createMux(
    {
      send(frame) {
        seen.sent += frame.length
        gateway.receive(frame)
      },
      get free() {
        return seen.free
      },
      soon: (task) => task(),
      fail: (reason) => failures.push(reason),
    },
    accept,
  )
  return {
    gateway,
    lender,
    get free() {
      return seen.free
    },
    set free(free) {
      seen.free = free
      if (free) lender.drained()
    },
    get sent() {
      return seen.sent
    },
    failures,
    forge: (frame) => gateway.receive(frame),
  }
}

/** Notes what it is told. */
export function noted() {
  const events: string[] = []
  let bytes = 0
  return {
    events,
    get bytes() {
      return bytes
    },
    head: (json: string) => void events.push(`head ${json}`),
    data(chunk: Buffer) {
      bytes += chunk.length
      events.push(`data ${chunk.length}`)
    },
    end: () => void events.push('end'),
    reset: (reason: string) => void events.push(`reset ${reason}`),
    drain: () => void events.push('drain'),
  }
}
