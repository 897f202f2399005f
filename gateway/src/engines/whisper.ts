/** Speech to text by a server of one's own: which kind it is, and the two that most people have. */
import type { Dispatcher } from 'undici'
import { z } from 'zod'
import { Failure } from '../failure.ts'
import { asrWebservice } from './asr-webservice.ts'
import type { Hearing, Transcriber, TranscriptionWish } from './engine.ts'
import { parseJson } from './json.ts'
import { ask, openPool, postOwn, postRecording } from './post-recording.ts'
import { wordsIn } from './transcript.ts'
import { findWyomingWhisper } from './wyoming-whisper.ts'

export interface Whisper extends Transcriber {
  readonly models: readonly string[]
  /** Throws a `Failure` where it no longer answers. */
  probe(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

/**
 * Asks a server what it is. whisper.cpp's has `POST /inference`, which answers 400 to a request without a
 * file; the others have `POST /v1/audio/transcriptions` or `POST /asr`, which answer with errors of their own.
 *
 * @param url `http://`, `https://`, or `tcp://` for one that speaks Wyoming
 * @param through what leads to it where it can't be dialled: a tunnel
 */
export async function findWhisper(url: string, signal: AbortSignal, through?: Dispatcher): Promise<Whisper> {
  const { origin, pathname, protocol } = new URL(url)
  if (protocol === 'tcp:') return findWyomingWhisper(url, signal)
  const base = pathname.replace(/\/(v1)?\/?$/, '')
  const pool = through ?? openPool(origin)
  try {
    const health = await ask(pool, 'GET', `${base}/health`, signal)
    if (health.status === 503) throw new Failure('unavailable', 'Whisper is loading its model.')
    const lacks = async (path: string): Promise<boolean> =>
      [404, 405].includes((await ask(pool, 'POST', `${base}${path}`, signal)).status)
    if ((await ask(pool, 'POST', `${base}/inference`, signal)).status === 400) return whisperCpp(pool, base)
    if (!(await lacks('/v1/audio/transcriptions')))
      return openAi(pool, base, await models(pool, base, signal))
    if (!(await lacks('/asr'))) return asrWebservice(pool, base)
    throw new Failure('bad_upstream', 'What answers at the Whisper address transcribes nothing.')
  } catch (error) {
    await pool.destroy()
    throw error
  }
}

function whisperCpp(pool: Dispatcher, base: string): Whisper {
  const path = `${base}/inference`
  return {
    kind: 'whisper.cpp',
    models: [],
    async transcribe(samples, signal, hearing) {
      // Language probabilities cost a second pass of the encoder: 1.04 s instead of 0.59 s (measured).
      const fields = { response_format: 'verbose_json', no_language_probabilities: 'true' }
      return wordsIn(await postOwn(pool, path, { ...ownRecording(samples, hearing), ...fields }, signal))
    },
    transcribeFile: (file, wish, signal) =>
      postRecording(
        pool,
        path,
        { file, ...fieldsOf(wish), ...(wish.translate && { translate: 'true' }) },
        signal,
      ),
    async probe(signal) {
      const { status } = await ask(pool, 'GET', `${base}/health`, signal)
      if (status !== 200) throw new Failure('unavailable', 'Whisper is loading its model.')
    },
    close: () => pool.close(),
  }
}

function openAi(pool: Dispatcher, base: string, known: readonly string[]): Whisper {
  const model = known.find((name) => /whisper|transcribe|parakeet/i.test(name)) ?? 'whisper-1'
  let format: 'verbose_json' | 'json' = 'verbose_json'
  return {
    kind: 'openai',
    models: [model],
    async transcribe(samples, signal, hearing) {
      const post = (response_format: string): Promise<string> =>
        postOwn(
          pool,
          `${base}/v1/audio/transcriptions`,
          { ...ownRecording(samples, hearing), model, response_format },
          signal,
        )
      const answer = await post(format).catch(async (error: unknown) => {
        if (format === 'json' || !(error instanceof Failure && error.code === 'bad_upstream')) throw error
        // OpenAI's newer models and their kin refuse `verbose_json`.
        const plain = await post('json')
        format = 'json'
        return plain
      })
      return wordsIn(answer)
    },
    transcribeFile: (file, wish, signal) =>
      postRecording(
        pool,
        `${base}/v1/audio/${wish.translate ? 'translations' : 'transcriptions'}`,
        { file, ...fieldsOf(wish), model },
        signal,
      ),
    async probe(signal) {
      await ask(pool, 'GET', `${base}/v1/models`, signal)
    },
    close: () => pool.close(),
  }
}

function ownRecording(
  samples: Int16Array,
  { language, prompt }: Hearing = {},
): Readonly<Record<string, string | Int16Array>> {
  return {
    file: samples,
    ...(language !== undefined && { language }),
    ...(prompt !== undefined && { prompt }),
  }
}

function fieldsOf({ language, prompt, temperature, format }: TranscriptionWish): Record<string, string> {
  return {
    response_format: format ?? 'json',
    ...(language !== undefined && { language }),
    ...(prompt !== undefined && { prompt }),
    ...(temperature !== undefined && { temperature }),
  }
}

async function models(pool: Dispatcher, base: string, signal: AbortSignal): Promise<string[]> {
  const { text } = await ask(pool, 'GET', `${base}/v1/models`, signal)
  const read = z.object({ data: z.array(z.object({ id: z.string() })) }).safeParse(parseJson(text))
  return read.success ? read.data.data.map(({ id }) => id) : []
}
