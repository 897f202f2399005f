/** Speech to text over HTTP: whisper.cpp's own server, or any that speaks OpenAI's transcriptions. */
import { FormData, Pool } from 'undici'
import { z } from 'zod'
import { inputSampleRate } from '#protocol/frame.ts'
import { Failure } from '../failure.ts'
import type { Transcriber, TranscriptionWish } from './engine.ts'
import { parseJson } from './json.ts'
import { wav } from './wav.ts'

export interface Whisper extends Transcriber {
  readonly kind: 'whisper.cpp' | 'openai'
  readonly models: readonly string[]
  /** Throws a `Failure` where it no longer answers. */
  probe(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

/** A minute of speech on a slow CPU; one request runs after another there. */
const answerMs = 5 * 60_000
const transcript = z.object({ text: z.string() })
/** What whisper.cpp writes for silence (VocaHQ/vocalinux#222). */
const blank = /\[BLANK_AUDIO\]/gi

/**
 * Asks a server what it is. whisper.cpp's has `POST /inference`, which answers 400 to a request without a
 * file; the others have `POST /v1/audio/transcriptions`, which answers with an error of its own.
 */
export async function findWhisper(url: string, signal: AbortSignal): Promise<Whisper> {
  const { origin, pathname } = new URL(url)
  const base = pathname.replace(/\/(v1)?\/?$/, '')
  const pool = new Pool(origin, { connections: 8, headersTimeout: answerMs, bodyTimeout: answerMs })
  try {
    const health = await ask(pool, 'GET', `${base}/health`, signal)
    if (health.status === 503) throw new Failure('unavailable', 'Whisper is loading its model.')
    if ((await ask(pool, 'POST', `${base}/inference`, signal)).status === 400) return whisperCpp(pool, base)
    const openai = await ask(pool, 'POST', `${base}/v1/audio/transcriptions`, signal)
    if (openai.status === 404 || openai.status === 405)
      throw new Failure('bad_upstream', 'What answers at the Whisper address transcribes nothing.')
    return openAi(pool, base, await models(pool, base, signal))
  } catch (error) {
    await pool.destroy()
    throw error
  }
}

function whisperCpp(pool: Pool, base: string): Whisper {
  return {
    kind: 'whisper.cpp',
    models: [],
    transcribe: (samples, signal) =>
      // Language probabilities cost a second pass of the encoder: 1.04 s instead of 0.59 s (facts, measured).
      post(
        pool,
        `${base}/inference`,
        samples,
        { response_format: 'json', no_language_probabilities: 'true' },
        signal,
      ),
    transcribeFile: (file, wish, signal) =>
      postForm(
        pool,
        `${base}/inference`,
        file,
        { ...fieldsOf(wish), ...(wish.translate && { translate: 'true' }) },
        signal,
      ),
    async probe(signal) {
      const { status } = await ask(pool, 'GET', `${base}/health`, signal)
      if (status !== 200) throw new Failure('unavailable', 'Whisper is loading its model.')
    },
    close: () => pool.close(),
  }
}

function openAi(pool: Pool, base: string, known: readonly string[]): Whisper {
  const model = known.find((name) => /whisper|transcribe|parakeet/i.test(name)) ?? 'whisper-1'
  return {
    kind: 'openai',
    models: [model],
    transcribe: (samples, signal) =>
      post(pool, `${base}/v1/audio/transcriptions`, samples, { response_format: 'json', model }, signal),
    transcribeFile: (file, wish, signal) =>
      postForm(
        pool,
        `${base}/v1/audio/${wish.translate ? 'translations' : 'transcriptions'}`,
        file,
        { ...fieldsOf(wish), model },
        signal,
      ),
    async probe(signal) {
      await ask(pool, 'GET', `${base}/v1/models`, signal)
    },
    close: () => pool.close(),
  }
}

async function post(
  pool: Pool,
  path: string,
  samples: Int16Array,
  fields: Record<string, string>,
  signal: AbortSignal,
): Promise<string> {
  const file = new Blob([new Uint8Array(wav(samples, inputSampleRate))], { type: 'audio/wav' })
  const { text } = await postForm(pool, path, file, fields, signal).catch((error: unknown) => {
    // Our own recording is sound.
    throw error instanceof Failure && error.code === 'invalid'
      ? new Failure('bad_upstream', 'Whisper refused the recording.', error)
      : error
  })
  const read = transcript.safeParse(parseJson(text))
  if (!read.success) throw new Failure('bad_upstream', 'Whisper sent something that is no transcript.', text)
  return read.data.text.replaceAll(blank, '').replaceAll(/\s+/g, ' ').trim()
}

async function postForm(
  pool: Pool,
  path: string,
  file: Blob,
  fields: Record<string, string>,
  signal: AbortSignal,
): Promise<{ contentType: string; text: string }> {
  const form = new FormData()
  form.set('file', file, 'recording.wav')
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  // Closing the connection is how whisper.cpp is told to stop.
  const answer = await pool.request({ method: 'POST', path, body: form, signal }).catch((error: unknown) => {
    throw signal.aborted ? error : new Failure('unavailable', 'Whisper does not answer.', error)
  })
  const text = await answer.body.text().catch((error: unknown) => {
    throw signal.aborted ? error : new Failure('bad_upstream', 'Whisper broke off its transcript.', error)
  })
  if (answer.statusCode === 503) throw new Failure('unavailable', 'Whisper is loading its model.')
  if (answer.statusCode === 400)
    throw new Failure('invalid', 'file: Whisper could not read the recording. Send it as WAV, 16 kHz.', text)
  if (answer.statusCode !== 200)
    throw new Failure('bad_upstream', `Whisper refused the recording with status ${answer.statusCode}.`, text)
  const type = answer.headers['content-type']
  return { contentType: typeof type === 'string' ? type : 'application/json', text }
}

function fieldsOf({ language, prompt, temperature, format }: TranscriptionWish): Record<string, string> {
  return {
    response_format: format ?? 'json',
    ...(language !== undefined && { language }),
    ...(prompt !== undefined && { prompt }),
    ...(temperature !== undefined && { temperature }),
  }
}

async function models(pool: Pool, base: string, signal: AbortSignal): Promise<string[]> {
  const { text } = await ask(pool, 'GET', `${base}/v1/models`, signal)
  const read = z.object({ data: z.array(z.object({ id: z.string() })) }).safeParse(parseJson(text))
  return read.success ? read.data.data.map(({ id }) => id) : []
}

async function ask(pool: Pool, method: 'GET' | 'POST', path: string, signal: AbortSignal) {
  const { statusCode, body } = await pool.request({ method, path, signal })
  return { status: statusCode, text: await body.text() }
}
