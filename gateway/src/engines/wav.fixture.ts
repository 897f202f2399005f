/** A whole recording as engines send and take it. */
import { bytesOf } from './pcm.ts'
import { wavHeader } from './wav.ts'

export function wav(samples: Int16Array, sampleRate: number): Buffer {
  return Buffer.concat([wavHeader(sampleRate, samples.byteLength), bytesOf(samples)])
}
