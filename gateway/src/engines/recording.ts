/** Files, for engines that hear samples alone. */
import { inputSampleRate } from '#protocol/frame.ts'
import { Failure } from '../failure.ts'
import type { TranscriptionWish } from './engine.ts'
import { pcm16 } from './pcm.ts'
import { resampled } from './resample.ts'
import { readWav } from './wav.ts'

/**
 * Has a WAV file heard, and answers in `json` or `text`. Throws a `Failure` `invalid` for all else.
 *
 * @param hear takes PCM16 mono 16 kHz
 */
export async function hearFile(
  file: Blob,
  { format = 'json', translate = false }: TranscriptionWish,
  hear: (samples: Int16Array) => Promise<string>,
): Promise<{ readonly contentType: string; readonly text: string }> {
  if (translate)
    throw new Failure('invalid', 'This speech-to-text does not translate: ask for a transcription.')
  if (format !== 'json' && format !== 'text')
    throw new Failure('invalid', 'response_format: this speech-to-text makes json or text.')
  const words = await hear(await samplesIn(file))
  return format === 'json'
    ? { contentType: 'application/json', text: JSON.stringify({ text: words }) }
    : { contentType: 'text/plain; charset=utf-8', text: words }
}

async function samplesIn(file: Blob): Promise<Int16Array> {
  const { sampleRate, bytes } = await readWav(file.stream()).catch((error: unknown) => {
    throw new Failure('invalid', 'file: this speech-to-text reads WAV, 16 bit, mono. Send it so.', error)
  })
  const parts: Int16Array[] = []
  let length = 0
  for await (const part of resampled(pcm16(bytes), sampleRate, inputSampleRate)) {
    parts.push(part)
    length += part.length
  }
  const samples = new Int16Array(length)
  length = 0
  for (const part of parts) {
    samples.set(part, length)
    length += part.length
  }
  return samples
}
