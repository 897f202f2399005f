/** PCM16 mono in a WAV container. Source: RIFF/WAVE, Microsoft and IBM, 1991. */
import { Failure } from '../failure.ts'

/**
 * 44 bytes.
 *
 * @param bytes how many of samples follow; left out where that is not known yet, as players know it from streams
 */
export function wavHeader(sampleRate: number, bytes = 0xff_ff_ff_ff - 36): Buffer {
  const header = Buffer.alloc(44)
  header.write('RIFF', 0)
  header.writeUInt32LE(36 + bytes, 4)
  header.write('WAVEfmt ', 8)
  header.writeUInt32LE(16, 16)
  header.writeUInt16LE(1, 20)
  header.writeUInt16LE(1, 22)
  header.writeUInt32LE(sampleRate, 24)
  header.writeUInt32LE(sampleRate * 2, 28)
  header.writeUInt16LE(2, 32)
  header.writeUInt16LE(16, 34)
  header.write('data', 36)
  header.writeUInt32LE(bytes, 40)
  return header
}

/** A header with lists of names before its samples; more is no sound. */
const maxHeaderBytes = 64 * 1024

/**
 * Reads the header of a WAV stream and gives its samples' bytes on as they come, without a copy. The length
 * that the header says is not believed: who makes sound as it goes does not know it.
 * Throws a `Failure` `bad_upstream` for what is no PCM16 mono.
 */
export async function readWav(
  stream: AsyncIterable<Uint8Array>,
): Promise<{ readonly sampleRate: number; readonly bytes: AsyncIterable<Uint8Array> }> {
  const chunks = stream[Symbol.asyncIterator]()
  let head = Buffer.alloc(0)
  for (;;) {
    const read = headerIn(head)
    if (read) return { sampleRate: read.sampleRate, bytes: rest(head.subarray(read.end), chunks) }
    const { done, value } = await chunks.next()
    if (done === true || head.length > maxHeaderBytes) throw noWav()
    head = Buffer.concat([head, value])
  }
}

/** Undefined while it is not whole. */
function headerIn(head: Buffer): { sampleRate: number; end: number } | undefined {
  if (head.length < 12) return undefined
  if (head.toString('latin1', 0, 4) !== 'RIFF' || head.toString('latin1', 8, 12) !== 'WAVE') throw noWav()
  let sampleRate: number | undefined
  for (let at = 12; at + 8 <= head.length;) {
    const name = head.toString('latin1', at, at + 4)
    const bytes = head.readUInt32LE(at + 4)
    if (name === 'data') {
      if (sampleRate === undefined) throw noWav()
      return { sampleRate, end: at + 8 }
    }
    if (name === 'fmt ') {
      if (at + 24 > head.length) return undefined
      const [channels, bits] = [head.readUInt16LE(at + 10), head.readUInt16LE(at + 22)]
      if (channels !== 1 || bits !== 16) throw noWav()
      sampleRate = head.readUInt32LE(at + 12)
      if (sampleRate < 1_000 || sampleRate > 192_000) throw noWav()
    }
    // Chunks begin at even places.
    at += 8 + bytes + (bytes % 2)
  }
  return undefined
}

async function* rest(first: Buffer, chunks: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (first.length > 0) yield first
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value
  } finally {
    await chunks.return?.()
  }
}

function noWav(): Failure {
  return new Failure('bad_upstream', 'The speech engine sent something that is no WAV, mono, 16 bit.')
}
