/** Speech to text over Wyoming, as wyoming-faster-whisper and its kin do it. */
import { z } from 'zod'
import { inputSampleRate } from '#protocol/frame.ts'
import { Failure } from '../failure.ts'
import type { Hearing } from './engine.ts'
import { bytesOf } from './pcm.ts'
import { hearFile } from './recording.ts'
import { onOneLine } from './transcript.ts'
import type { Whisper } from './whisper.ts'
import { converse, describe, refusalIn } from './wyoming.ts'

const info = z.object({
  asr: z.array(z.object({ models: z.array(z.object({ name: z.string() })).default([]) })).min(1),
})
const format = { rate: inputSampleRate, width: 2, channels: 1 }
/** Half a second a chunk. */
const chunkBytes = inputSampleRate

/** Throws a `Failure` where what answers hears nothing. */
export async function findWyomingWhisper(given: string, signal: AbortSignal): Promise<Whisper> {
  const url = new URL(given).port === '' ? `${given}:10300` : given
  const read = info.safeParse(await describe(url, signal))
  if (!read.success)
    throw new Failure('bad_upstream', 'The Wyoming server at the Whisper address transcribes nothing.')
  /** It answers nobody else while it transcribes. */
  let busy = 0
  const hear = async (samples: Int16Array, stop: AbortSignal, hearing: Hearing = {}): Promise<string> => {
    busy += 1
    try {
      for await (const event of converse(url, eventsOf(samples, hearing), stop)) {
        if (event.type === 'error') throw refusalIn(event)
        if (event.type === 'transcript') return onOneLine(z.string().catch('').parse(event.data.text))
      }
      throw new Failure('bad_upstream', 'The Wyoming server broke off.')
    } finally {
      busy -= 1
    }
  }
  return {
    kind: 'wyoming',
    models: read.data.asr.flatMap(({ models }) => models.map(({ name }) => name)),
    transcribe: hear,
    transcribeFile: (file, wish, stop) => hearFile(file, wish, (samples) => hear(samples, stop, wish)),
    async probe(stop) {
      if (busy === 0) await describe(url, stop)
    },
    async close() {},
  }
}

/** Its prompt is the server's own: Wyoming has no word for one. */
function eventsOf(samples: Int16Array, { language }: Hearing) {
  const bytes = bytesOf(samples)
  const chunks = Array.from({ length: Math.ceil(bytes.length / chunkBytes) }, (_, at) =>
    bytes.subarray(at * chunkBytes, (at + 1) * chunkBytes),
  )
  return [
    { type: 'transcribe', data: { ...(language !== undefined && { language }) } },
    { type: 'audio-start', data: format },
    ...chunks.map((payload) => ({ type: 'audio-chunk', data: format, payload })),
    { type: 'audio-stop' },
  ]
}
