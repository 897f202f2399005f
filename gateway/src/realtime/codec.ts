/** Sound as clients of the Realtime API write it: PCM at 24 kHz, or G.711 at 8 kHz. */
import g711 from 'alawmulaw'
import { createResampler } from '#engines/resample.ts'
import type { Session } from '#protocol/events.ts'
import { inputSampleRate, outputSampleRate } from '#protocol/frame.ts'

export interface Encoder {
  /** PCM16 mono at 24 kHz as bytes of the format. */
  encode(samples: Int16Array): Buffer
  /** What was held back. */
  rest(): Buffer
  close(): void
}

export interface Decoder {
  /** Bytes of the format as PCM16 mono at 16 kHz. Half a sample at the end is left out. */
  decode(bytes: Buffer): Int16Array
  close(): void
}

export async function createEncoder(format: Session['audio']['output']['format']): Promise<Encoder> {
  if (format.type === 'audio/pcm') return { encode: bytesOf, rest: () => Buffer.alloc(0), close() {} }
  const resampler = await createResampler(outputSampleRate, telephoneRate)
  const law = format.type === 'audio/pcmu' ? g711.mulaw : g711.alaw
  return {
    encode: (samples) => Buffer.from(law.encode(resampler.push(samples))),
    rest: () => Buffer.from(law.encode(resampler.end())),
    close: () => resampler.close(),
  }
}

export async function createDecoder(format: Session['audio']['input']['format']): Promise<Decoder> {
  const pcm = format.type === 'audio/pcm'
  const resampler = await createResampler(pcm ? outputSampleRate : telephoneRate, inputSampleRate)
  const law = format.type === 'audio/pcmu' ? g711.mulaw : g711.alaw
  return {
    decode: (bytes) => resampler.push(pcm ? samplesOf(bytes) : law.decode(bytes)),
    close: () => resampler.close(),
  }
}

/** G.711. */
const telephoneRate = 8_000

function bytesOf(samples: Int16Array): Buffer {
  return Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)
}

function samplesOf(bytes: Buffer): Int16Array {
  const samples = new Int16Array(bytes.length >> 1)
  Buffer.from(samples.buffer).set(bytes.subarray(0, samples.byteLength))
  return samples
}
