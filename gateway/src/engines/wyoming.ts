/**
 * Wyoming, by which Home Assistant's voices and ears are reached: over TCP, each event a line of JSON, then
 * more JSON where there is much, then bytes. Source: `wyoming/event.py` in OHF-Voice/wyoming.
 */
import { connect, type Socket } from 'node:net'
import { z } from 'zod'
import { Failure } from '../failure.ts'
import { isRecord, parseJson } from './json.ts'

export interface WyomingEvent {
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
  readonly payload: Buffer
}

const header = z.object({
  type: z.string(),
  data: z.record(z.string(), z.unknown()).nullish(),
  data_length: z.int().min(0).nullish(),
  payload_length: z.int().min(0).nullish(),
})

/** A minute of speech on a slow CPU. */
const silenceMs = 5 * 60_000
/** Far above a list of a thousand voices, or ten minutes of sound. */
const maxBytes = 32 * 1024 * 1024

/**
 * Sends events over a connection of their own and gives what comes back, until the reader has enough or
 * `signal` is aborted: then the connection is closed. Throws a `Failure`, also where the other end goes first.
 *
 * @param url `tcp://host:port`
 */
export async function* converse(
  url: string,
  events: readonly { readonly type: string; readonly data?: object; readonly payload?: Uint8Array }[],
  signal: AbortSignal,
): AsyncGenerator<WyomingEvent> {
  signal.throwIfAborted()
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname.replaceAll(/[[\]]/g, ''), port: Number(port) })
  const stop = (): void => {
    socket.destroy(new Error('Not wanted any more.'))
  }
  signal.addEventListener('abort', stop, { once: true })
  let connected = false
  socket.once('connect', () => {
    connected = true
  })
  // What goes wrong is told to who reads.
  socket.on('error', () => {})
  socket.setTimeout(silenceMs, () => socket.destroy(new Error('It said nothing for too long.')))
  try {
    for (const event of events) send(socket, event)
    yield* read(socket)
    throw new Error('It closed the connection.')
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof Failure) throw error
    throw connected
      ? new Failure('bad_upstream', 'The Wyoming server broke off.', error)
      : new Failure('unavailable', 'The Wyoming server does not answer.', error)
  } finally {
    signal.removeEventListener('abort', stop)
    socket.destroy()
  }
}

/** What it is, in its own words: the `info` of its `describe`. */
export async function describe(url: string, signal: AbortSignal): Promise<unknown> {
  for await (const { type, data } of converse(url, [{ type: 'describe' }], signal))
    if (type === 'info') return data
  throw new Failure('bad_upstream', 'The Wyoming server does not say what it is.')
}

/** Its `error`, as a `Failure`. */
export function refusalIn({ data }: WyomingEvent): Failure {
  return new Failure('bad_upstream', 'The Wyoming server refused. The gateway’s log says why.', data)
}

function send(
  socket: Socket,
  {
    type,
    data = {},
    payload,
  }: { readonly type: string; readonly data?: object; readonly payload?: Uint8Array },
): void {
  socket.write(`${JSON.stringify({ type, data, ...(payload && { payload_length: payload.length }) })}\n`)
  if (payload) socket.write(payload)
}

async function* read(socket: Socket): AsyncGenerator<WyomingEvent> {
  let unread: Buffer = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk])
    for (;;) {
      const { event, bytes } = eventIn(unread)
      if (!event) break
      unread = unread.subarray(bytes)
      yield event
    }
  }
}

/** The first event, and how many bytes it takes; without an event while it is not whole. */
function eventIn(bytes: Buffer): { readonly event?: WyomingEvent; readonly bytes: number } {
  if (bytes.length > maxBytes) throw noWyoming()
  const lineEnd = bytes.indexOf(0x0a)
  if (lineEnd === -1) return { bytes: 0 }
  const head = header.safeParse(parseJson(bytes.toString('utf8', 0, lineEnd)))
  if (!head.success) throw noWyoming()
  const { type, data, data_length: dataLength, payload_length: payloadLength } = head.data
  const dataEnd = lineEnd + 1 + (dataLength ?? 0)
  const end = dataEnd + (payloadLength ?? 0)
  if (end > maxBytes) throw noWyoming()
  if (bytes.length < end) return { bytes: 0 }
  const more = dataLength ? parseJson(bytes.toString('utf8', lineEnd + 1, dataEnd)) : {}
  const all = z.record(z.string(), z.unknown()).safeParse({ ...data, ...(isRecord(more) && more) })
  return { event: { type, data: all.data ?? {}, payload: bytes.subarray(dataEnd, end) }, bytes: end }
}

function noWyoming(): Failure {
  return new Failure('bad_upstream', 'What answers at the tcp:// address does not speak Wyoming.')
}
