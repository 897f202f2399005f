/** A voice over Wyoming, as wyoming-piper and its kin speak. */
import { z } from 'zod'
import { Failure } from '../failure.ts'
import { pcm16 } from './pcm.ts'
import { resampled } from './resample.ts'
import { languageOf, speechRate, type SayWish, type SpeechConfig, type Voice } from './voice.ts'
import { converse, describe, refusalIn, type WyomingEvent } from './wyoming.ts'

const format = z.object({
  rate: z.int().min(1_000).max(192_000),
  width: z.literal(2),
  channels: z.literal(1),
})

const info = z.object({
  tts: z.array(
    z.object({
      voices: z.array(
        z.object({
          name: z.string(),
          description: z.string().nullish(),
          languages: z.array(z.string()).default([]),
        }),
      ),
    }),
  ),
})

/** The voice keeps its own pace: Wyoming has no word for another. */
export function wyomingSpeech(given: string, { voice }: SpeechConfig): Voice {
  const url = new URL(given).port === '' ? `${given}:10200` : given
  return {
    kind: 'wyoming',
    parallel: 2,
    formats: [],
    async *sound(wish, signal) {
      const events = converse(url, [synthesize(wish, voice)], signal)
      try {
        const rate = await start(events)
        yield* resampled(pcm16(chunks(events)), rate, speechRate)
      } finally {
        await events.return(undefined)
      }
    },
    async voices(signal) {
      const { tts } = info.parse(await describe(url, signal))
      return tts.flatMap(({ voices }) =>
        voices.map(({ name, description, languages }) => ({
          id: name,
          name: description || name,
          // One that speaks several is none's.
          language: languages.length === 1 ? languageOf(languages[0]) : null,
        })),
      )
    },
    async close() {},
  }
}

function synthesize({ text, voice: wished }: SayWish, own: string | undefined) {
  const name = wished ?? own
  return { type: 'synthesize', data: { text, ...(name !== undefined && { voice: { name } }) } }
}

/** The rate of what follows. */
async function start(events: AsyncGenerator<WyomingEvent>): Promise<number> {
  for (let next = await events.next(); next.done !== true; next = await events.next()) {
    const event = next.value
    if (event.type === 'error') throw refusalIn(event)
    if (event.type !== 'audio-start') continue
    const read = format.safeParse(event.data)
    if (read.success) return read.data.rate
    throw new Failure('bad_upstream', 'The Wyoming server speaks in a form that is not mono, 16 bit.')
  }
  throw new Failure('bad_upstream', 'The Wyoming server broke off.')
}

async function* chunks(events: AsyncGenerator<WyomingEvent>): AsyncGenerator<Uint8Array> {
  for await (const event of events) {
    if (event.type === 'error') throw refusalIn(event)
    if (event.type === 'audio-stop') return
    if (event.type === 'audio-chunk') yield event.payload
  }
}
