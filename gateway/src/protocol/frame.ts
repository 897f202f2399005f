/**
 * The binary frame of `realtime.sotto.v1`: raw audio beside the JSON events, both ways.
 *
 * Eight bytes of header, little-endian, then the samples:
 *
 * | bytes | field  | meaning                                                                |
 * |-------|--------|------------------------------------------------------------------------|
 * | 0     | kind   | 1 = PCM, signed 16 bit little-endian, mono: 16 kHz up, 24 kHz down     |
 * |       |        | 2 = one packet of Opus, mono (RFC 6716); its samples count at these rates |
 * | 1     | flags  | 0                                                                      |
 * | 2–3   | stream | up: 0 = the microphone; down: `x_stream` of `response.content_part.added` |
 * | 4–7   | offset | samples sent on this stream before this frame                          |
 *
 * No Node imports: the browser reads this file too.
 */

/** Offered first by our web app; a server that answers with it takes binary frames. */
export const subprotocol = 'realtime.sotto.v1'

/** Whisper and Silero both want 16 kHz, so the device sends it. */
export const inputSampleRate = 16_000

/** What the voices make, as OpenAI's clients expect it. */
export const outputSampleRate = 24_000

/** One second: fifty times what the worklet sends, and small enough to refuse early. */
export const maxFrameSamples = 16_000

const headerBytes = 8
const pcm16 = 1
const opus = 2
/** Source: RFC 6716 §3.4: 120 ms at the highest rate, and what a packet of several frames adds. */
const maxPacketBytes = 3 * 1275 + 7

/** What a frame holds: samples, and how many came before them. */
export interface AudioFrame {
  readonly stream: number
  readonly offset: number
  readonly samples: Int16Array
}

/** The same, packed by Opus: a tenth of the bytes, for mobile data. */
export interface OpusFrame {
  readonly stream: number
  readonly offset: number
  readonly packet: Uint8Array
}

/** Packs mono samples, or a packet of them, as one frame. */
export function encodeFrame(frame: AudioFrame | OpusFrame): Uint8Array<ArrayBuffer> {
  const bytes =
    'packet' in frame
      ? frame.packet
      : new Uint8Array(frame.samples.buffer, frame.samples.byteOffset, frame.samples.byteLength)
  const packed = new Uint8Array(headerBytes + bytes.length)
  const header = new DataView(packed.buffer)
  header.setUint8(0, 'packet' in frame ? opus : pcm16)
  header.setUint16(2, frame.stream, true)
  header.setUint32(4, frame.offset, true)
  packed.set(bytes, headerBytes)
  return packed
}

/**
 * Unpacks a frame, or says in one sentence what is wrong with it.
 * The samples lie where the frame does, unless they lie askew there: they are read from even places alone.
 */
export function decodeFrame(frame: Uint8Array): AudioFrame | OpusFrame | { readonly fault: string } {
  const bytes = frame.byteLength - headerBytes
  if (bytes < 0) return { fault: `An audio frame has a header of ${headerBytes} bytes.` }
  const header = new DataView(frame.buffer, frame.byteOffset, headerBytes)
  const kind = header.getUint8(0)
  if ((kind !== pcm16 && kind !== opus) || header.getUint8(1) !== 0)
    return {
      fault: 'An audio frame holds PCM, 16 bit, mono (kind 1), or a packet of Opus (kind 2); flags 0.',
    }
  const place = { stream: header.getUint16(2, true), offset: header.getUint32(4, true) }
  if (kind === opus)
    return bytes > 0 && bytes <= maxPacketBytes
      ? { ...place, packet: frame.slice(headerBytes) }
      : { fault: `A packet of Opus has 1 to ${maxPacketBytes} bytes.` }
  if (bytes % 2 !== 0) return { fault: 'An audio frame holds whole samples of two bytes.' }
  if (bytes / 2 > maxFrameSamples)
    return { fault: `An audio frame holds at most ${maxFrameSamples} samples (one second).` }
  const even = (frame.byteOffset + headerBytes) % 2 === 0
  const sound = even ? frame.subarray(headerBytes) : new Uint8Array(frame.subarray(headerBytes))
  return { ...place, samples: new Int16Array(sound.buffer, sound.byteOffset, bytes / 2) }
}
