/** Many streams over one wire: each with its own credit, and all in turn, so that none holds up another. */
import { decode, encode, encodeCredit, firstCredit, maxDataBytes, type Frame } from './frame.ts'

/** What carries the frames. */
export interface Wire {
  send(frame: Buffer): void
  /** Whether more data may be sent now; where not, `Mux.drained` MUST be called once it may. */
  readonly free: boolean
  /** Runs it once what happens now is over: what one read of a socket brings goes in as few frames as may be. */
  soon(task: () => void): void
  /** The other side does not keep to the protocol. */
  fail(reason: string): void
}

/** What its owner is told of a stream. After `reset` or the answer's end nothing comes any more. */
export interface StreamEvents {
  head?(json: string): void
  data(chunk: Buffer): void
  /** The other side has said everything. */
  end(): void
  /** It was given up, there or with the wire. */
  reset(reason: string): void
  /** There is room again, after `write` said that there was none. */
  drain?(): void
}

export interface Stream {
  head(json: string): void
  /** False where the owner should wait for `drain`. */
  write(chunk: Buffer): boolean
  end(): void
  /** Gives it up: no event comes any more. */
  reset(reason: string): void
  /** So many bytes of what came were used: as many more may come. */
  consumed(bytes: number): void
}

export interface Mux {
  /** Streams that are open. */
  readonly open: number
  request(json: string, events: StreamEvents): Stream
  receive(message: Buffer): void
  drained(): void
  /** The wire is gone: every stream is reset. */
  close(reason: string): void
}

interface State {
  readonly id: number
  readonly events: StreamEvents
  /** Bytes of data that may be sent. */
  credit: number
  /** Bytes of data that may come. */
  granted: number
  /** Bytes used since credit was last given. */
  used: number
  waiting: Buffer[]
  waitingBytes: number
  /** `write` said that there was no room. */
  full: boolean
  ending: boolean
}

/** An owner is asked to wait when so much of its stream waits here. */
const roomBytes = 64 * 1024
/** More than any engine answers at once. */
const maxStreams = 4_096
/** Credit is given in pieces of that, not for each chunk. */
const creditStep = firstCredit / 4

/** @param accept for the side that answers: gives the events of a stream that the other one opened */
export function createMux(wire: Wire, accept?: (json: string, stream: Stream) => StreamEvents): Mux {
  const streams = new Map<number, State>()
  /** Those with data that may be sent, in the order of their turns. */
  const ready = new Set<State>()
  let last = 0
  let pumpsSoon = false
  let closed: string | undefined

  const forget = (state: State): void => {
    streams.delete(state.id)
    ready.delete(state)
    state.waiting = []
  }
  const isOpen = (state: State): boolean => streams.get(state.id) === state
  const finish = (state: State): void => {
    wire.send(encode('end', state.id))
    // The answer's end is the stream's; the request's is not.
    if (accept) forget(state)
  }
  const queue = (state: State): void => {
    if (state.waitingBytes > 0 && state.credit > 0) ready.add(state)
  }
  const pump = (): void => {
    while (wire.free) {
      const [state] = ready
      if (!state) return
      ready.delete(state)
      const bytes = Math.min(maxDataBytes, state.credit, state.waitingBytes)
      state.credit -= bytes
      wire.send(encode('data', state.id, ...take(state, bytes)))
      queue(state)
      if (state.waitingBytes === 0 && state.ending) finish(state)
      else if (state.full && state.waitingBytes < roomBytes) {
        state.full = false
        state.events.drain?.()
      }
    }
  }
  const pumpSoon = (): void => {
    if (pumpsSoon) return
    pumpsSoon = true
    wire.soon(() => {
      pumpsSoon = false
      pump()
    })
  }
  const streamOf = (state: State): Stream => ({
    head(json) {
      if (isOpen(state)) wire.send(encode('head', state.id, Buffer.from(json)))
    },
    write(chunk) {
      if (!isOpen(state) || state.ending || chunk.length === 0) return true
      state.waiting.push(chunk)
      state.waitingBytes += chunk.length
      queue(state)
      if (state.waitingBytes < roomBytes) pumpSoon()
      else pump()
      state.full = state.waitingBytes >= roomBytes
      return !state.full
    },
    end() {
      if (!isOpen(state) || state.ending) return
      state.ending = true
      if (state.waitingBytes === 0) finish(state)
    },
    reset(reason) {
      if (!isOpen(state)) return
      // What was written before is part of what went well.
      pump()
      forget(state)
      wire.send(encode('reset', state.id, Buffer.from(reason)))
    },
    consumed(bytes) {
      state.used += bytes
      if (state.used < creditStep || !isOpen(state)) return
      const { used } = state
      state.granted += used
      state.used = 0
      wire.send(encodeCredit(state.id, used))
    },
  })
  const add = (id: number, events: (stream: Stream) => StreamEvents): Stream => {
    const own: { events: StreamEvents } = { events: silent }
    const state: State = {
      id,
      get events() {
        return own.events
      },
      credit: firstCredit,
      granted: firstCredit,
      used: 0,
      waiting: [],
      waitingBytes: 0,
      full: false,
      ending: false,
    }
    streams.set(id, state)
    const stream = streamOf(state)
    own.events = events(stream)
    return stream
  }
  const opened = ({ stream: id, payload }: Frame): void => {
    if (!accept || id <= last) return wire.fail('a stream that may not be opened')
    last = id
    if (streams.size >= maxStreams) return wire.send(encode('reset', id, Buffer.from('busy')))
    add(id, (stream) => accept(payload.toString(), stream))
  }
  const received = (state: State, { kind, payload }: Frame): void => {
    if (kind === 'head') state.events.head?.(payload.toString())
    else if (kind === 'data') {
      state.granted -= payload.length
      if (state.granted < 0) return wire.fail('more data than credit')
      state.events.data(payload)
    } else if (kind === 'credit') {
      state.credit += payload.readUInt32BE()
      queue(state)
      pump()
    } else {
      // A request's end leaves the stream open for its answer.
      if (!accept || kind === 'reset') forget(state)
      if (kind === 'reset') state.events.reset(payload.toString())
      else state.events.end()
    }
  }
  return {
    get open() {
      return streams.size
    },
    request(json, events) {
      last += 1
      const stream = add(last, () => events)
      if (closed === undefined) wire.send(encode('open', last, Buffer.from(json)))
      else {
        const reason = closed
        streams.delete(last)
        queueMicrotask(() => events.reset(reason))
      }
      return stream
    },
    receive(message) {
      if (closed !== undefined) return
      const frame = decode(message)
      if (!frame) return wire.fail('no frame')
      if (frame.kind === 'open') return opened(frame)
      const state = streams.get(frame.stream)
      // What is unknown was given up here, and the other side did not know it yet.
      if (state) received(state, frame)
    },
    drained: pump,
    close(reason) {
      if (closed !== undefined) return
      closed = reason
      const all = [...streams.values()]
      streams.clear()
      ready.clear()
      for (const { events } of all) events.reset(reason)
    },
  }
}

const silent: StreamEvents = { data() {}, end() {}, reset() {} }

/** So many bytes of what waits; no more may be asked for than that. */
function take(state: State, bytes: number): Buffer[] {
  const taken: Buffer[] = []
  for (let missing = bytes; missing > 0;) {
    const [first] = state.waiting
    if (first === undefined) break
    if (first.length <= missing) state.waiting.shift()
    else state.waiting[0] = first.subarray(missing)
    taken.push(first.subarray(0, missing))
    missing -= first.length
  }
  state.waitingBytes -= bytes
  return taken
}
