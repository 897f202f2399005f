/**
 * The frames of `sotto-tunnel.1`, one a WebSocket message: requests of the gateway, answers of the lender. Framing
 * of our own, since HTTP/2 of Node over anything but a socket costs two to three times the CPU (`pnpm bench reach`).
 *
 * Five bytes of header, big-endian, then the payload:
 *
 * | bytes | field  | meaning                                                                     |
 * |-------|--------|-----------------------------------------------------------------------------|
 * | 0     | kind   | 1 open (JSON, `RequestHead`), 2 head (JSON, `AnswerHead`), 3 data, 4 end,    |
 * |       |        | 5 credit (uint32: bytes of data that may follow), 6 reset (text: why)        |
 * | 1–4   | stream | counts up from 1 in each connection; only the gateway opens one              |
 *
 * A side sends no more data of a stream than its credit, `firstCredit` and what it was given since: so each stream
 * waits for its own reader alone. The end of an answer ends the stream, whatever is left of the request.
 */
import { z } from 'zod'

/** Offered by the lender in `Sec-WebSocket-Protocol`. */
export const tunnelProtocol = 'sotto-tunnel.1'

/** What one reader that stalls can hold in memory; at 50 ms to the lender, 5 MB/s for one stream. */
export const firstCredit = 256 * 1024
/**
 * With its headers, ours and that of a masked message, one record of TLS (RFC 8446 §5.1): so it comes in one piece,
 * which nobody need put together, and another stream's token does not wait long behind it on a slow line.
 */
export const maxDataBytes = 16 * 1024 - 5 - 8
/** What `ws` takes: no head is larger. */
export const maxFrameBytes = 64 * 1024

const kinds = ['open', 'head', 'data', 'end', 'credit', 'reset'] as const

export interface Frame {
  readonly kind: (typeof kinds)[number]
  readonly stream: number
  readonly payload: Buffer
}

/** What HTTP can carry (RFC 9110 §5.5): written into an answer, anything else would throw. */
const headers = z.record(z.string(), z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/))

export const requestHead = z.object({
  method: z.string(),
  /** With the query. */
  path: z.string().startsWith('/'),
  headers,
  /** Whether data follow. */
  body: z.boolean(),
})
export type RequestHead = z.infer<typeof requestHead>

export const answerHead = z.object({ status: z.int().min(200).max(599), headers })
export type AnswerHead = z.infer<typeof answerHead>

const headerBytes = 5

/** A piece of memory each: made anew for every frame, they would be most of what the garbage collector is about. */
const spare: Buffer[] = []
const fullBytes = headerBytes + maxDataBytes
const maxSpare = 64

/** May be given to `recycle` once it is sent. */
export function encode(kind: Frame['kind'], stream: number, ...payload: readonly Buffer[]): Buffer {
  let bytes = headerBytes
  for (const part of payload) bytes += part.length
  const frame =
    kind === 'data' && bytes > Buffer.poolSize / 2
      ? (spare.pop() ?? Buffer.allocUnsafeSlow(fullBytes)).subarray(0, bytes)
      : Buffer.allocUnsafe(bytes)
  frame.writeUInt8(kinds.indexOf(kind) + 1, 0)
  frame.writeUInt32BE(stream, 1)
  let at = headerBytes
  for (const part of payload) at += part.copy(frame, at)
  return frame
}

/** Takes back the memory of a frame that nobody reads any more. */
export function recycle({ buffer, byteOffset }: Buffer): void {
  if (byteOffset === 0 && buffer.byteLength === fullBytes && spare.length < maxSpare)
    spare.push(Buffer.from(buffer))
}

export function encodeCredit(stream: number, bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(4)
  payload.writeUInt32BE(bytes)
  return encode('credit', stream, payload)
}

/** Undefined for what is no frame. */
export function decode(bytes: Buffer): Frame | undefined {
  if (bytes.length < headerBytes || bytes.length > maxFrameBytes) return undefined
  const kind = kinds[bytes.readUInt8(0) - 1]
  const payload = bytes.subarray(headerBytes)
  if (kind === undefined || (kind === 'credit' && payload.length !== 4)) return undefined
  return { kind, stream: bytes.readUInt32BE(1), payload }
}
