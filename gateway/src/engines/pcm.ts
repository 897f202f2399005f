/** Samples from bytes: PCM, signed 16 bit little-endian, as every engine here speaks and hears it. */

/** Whole samples, whatever pieces the bytes come in; half a sample at the end is dropped. */
export async function* pcm16(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Int16Array> {
  let half: number | undefined
  for await (const chunk of bytes) {
    if (chunk.length === 0) continue
    const samples = samplesOf(chunk, half)
    half = (chunk.length + (half === undefined ? 0 : 1)) % 2 === 1 ? chunk.at(-1) : undefined
    if (samples.length > 0) yield samples
  }
}

/**
 * Copies only where the bytes lie askew: samples are read from even places in memory alone.
 *
 * @param half the first byte of a sample whose second the chunk begins with
 */
function samplesOf(chunk: Uint8Array, half: number | undefined): Int16Array {
  if (half === undefined && chunk.byteOffset % 2 === 0)
    return new Int16Array(chunk.buffer, chunk.byteOffset, Math.floor(chunk.length / 2))
  const before = half === undefined ? 0 : 1
  const samples = new Int16Array(Math.floor((chunk.length + before) / 2))
  const bytes = new Uint8Array(samples.buffer)
  if (half !== undefined) bytes[0] = half
  bytes.set(chunk.subarray(0, bytes.length - before), before)
  return samples
}

/** The same memory, as bytes. */
export function bytesOf(samples: Int16Array): Buffer {
  return Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)
}
