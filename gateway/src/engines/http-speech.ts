/** Voices over HTTP: any OpenAI-compatible server's, or Piper's own. */
import { Pool } from 'undici'
import { z } from 'zod'
import type { SpeakingVoice } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import { parseJson } from './json.ts'
import { pcm16 } from './pcm.ts'
import { baseOf, postJson } from './post-json.ts'
import { resampled } from './resample.ts'
import { languageOf, speechRate, type SayWish, type SpeechConfig, type Spoken, type Voice } from './voice.ts'
import { readWav } from './wav.ts'
import { textOf } from './text-of.ts'

/** A long text on a slow CPU, before its first sound. */
const firstSoundMs = 60_000

/** `POST /v1/audio/speech`. Source: OpenAI's OpenAPI document. */
export function openAiSpeech(url: string, { model = 'tts-1', voice = 'alloy' }: SpeechConfig): Voice {
  const { pool, base, get, post } = connect(url)
  const ask = (wish: SayWish, format: string | undefined, signal: AbortSignal, unnamed?: string) =>
    post(
      `${base}/v1/audio/speech`,
      {
        model,
        voice: wish.voice ?? voice,
        input: wish.text,
        speed: wish.speed,
        ...(format !== undefined && { response_format: format }),
      },
      signal,
      unnamed,
    )
  return {
    kind: 'openai',
    // A GPU speaks several faster than they are listened to; more would only begin later.
    parallel: 4,
    formats: ['mp3', 'opus', 'aac', 'flac', 'wav', 'pcm'],
    file: (wish, signal) => ask(wish, wish.format, signal),
    async *sound(wish, signal) {
      const { contentType, sound } = await ask(wish, 'pcm', signal, 'audio/pcm')
      // Not all that call themselves compatible know `pcm`.
      if (/wav/i.test(contentType)) return yield* fromWav(sound, signal)
      if (/mpeg|mp3|opus|ogg|aac|flac|json|html/i.test(contentType)) {
        sound.once('error', () => {}).destroy()
        throw new Failure(
          'bad_upstream',
          'The speech engine does not make pcm, which voice needs.',
          contentType,
        )
      }
      return yield* pcm16(whole(sound, signal))
    },
    voices: async (signal) => voicesIn(await get(`${base}/v1/audio/voices`, signal)),
    close: () => pool.destroy(),
  }
}

/**
 * `POST /synthesize` with the text as JSON gives WAV; before 2026 it was `POST /`.
 * Source: `http_server.py` in OHF-Voice/piper1-gpl.
 */
export function piperSpeech(url: string, { voice }: SpeechConfig): Voice {
  const { pool, base, get, post } = connect(url)
  let path = '/synthesize'
  const ask = (wish: SayWish, signal: AbortSignal): Promise<Spoken> => {
    const spoken = wish.voice ?? voice
    // Its scale is of length: twice as fast is half as long.
    const body = {
      text: wish.text,
      length_scale: 1 / wish.speed,
      ...(spoken !== undefined && { voice: spoken }),
    }
    return post(`${base}${path}`, body, signal).catch((error: unknown) => {
      if (path === '/' || !(error instanceof Failure && error.code === 'not_found')) throw error
      path = '/'
      return post(`${base}${path}`, body, signal)
    })
  }
  return {
    kind: 'piper',
    parallel: 2,
    formats: ['wav'],
    file: ask,
    async *sound(wish, signal) {
      const { sound } = await ask(wish, signal)
      yield* fromWav(sound, signal)
    },
    async voices(signal) {
      const found = piperVoices.parse(await get(`${base}/voices`, signal))
      return Object.entries(found).map(([id, { language }]) => ({
        id,
        name: id,
        language: languageOf(language?.code),
      }))
    },
    close: () => pool.destroy(),
  }
}

/** By name, with what is known of each. */
const piperVoices = z.record(
  z.string(),
  z.object({ language: z.object({ code: z.string() }).nullish().catch(null) }),
)
/** Not OpenAI's: Kokoro-FastAPI, Speaches and others have it, each a little otherwise. */
const voice = z.union([
  z.string().transform((id): SpeakingVoice => ({ id, name: id, language: null })),
  z
    .looseObject({
      id: z.string().optional(),
      voice_id: z.string().optional(),
      name: z.string().optional(),
      language: z.string().optional().catch(undefined),
      locale: z.string().optional().catch(undefined),
    })
    .transform(({ id, voice_id: other, name, language, locale }): SpeakingVoice => {
      const known = id ?? other ?? name ?? ''
      return { id: known, name: name ?? known, language: languageOf(language ?? locale) }
    }),
])
const voiceList = z.union([
  z.object({ voices: z.array(voice) }).transform(({ voices }) => voices),
  z.object({ data: z.array(voice) }).transform(({ data }) => data),
  z.array(voice),
])

function voicesIn(told: unknown): SpeakingVoice[] {
  return voiceList.parse(told).filter(({ id }) => id !== '')
}

function connect(url: string) {
  const pool = new Pool(new URL(url).origin, {
    connections: 8,
    headersTimeout: firstSoundMs,
    bodyTimeout: firstSoundMs,
  })
  /** @param unnamed what it is where the server does not say */
  const post = async (
    path: string,
    body: object,
    signal: AbortSignal,
    unnamed = 'audio/wav',
  ): Promise<Spoken> => {
    const answer = await postJson(pool, 'speech engine', path, body, signal)
    const type = answer.headers['content-type']
    return { contentType: typeof type === 'string' ? type : unnamed, sound: answer.body }
  }
  const get = async (path: string, signal: AbortSignal): Promise<unknown> => {
    const { body } = await pool.request({ method: 'GET', path, signal })
    return parseJson(await textOf(body))
  }
  return { pool, base: baseOf(url), get, post }
}

async function* fromWav(sound: Spoken['sound'], signal: AbortSignal): AsyncGenerator<Int16Array> {
  const { sampleRate, bytes } = await readWav(whole(sound, signal))
  yield* resampled(pcm16(bytes), sampleRate, speechRate)
}

/** The bytes as they come; a connection that broke is no end of the sound. */
async function* whole(sound: Spoken['sound'], signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of sound as AsyncIterable<Buffer>) yield chunk
  } catch (error) {
    throw signal.aborted
      ? signal.reason
      : new Failure('bad_upstream', 'The speech engine broke off before it had said everything.', error)
  }
}
