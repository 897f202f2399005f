/** Text to speech: any OpenAI-compatible server, Piper's own, or espeak-ng on this machine. */
import { existsSync } from 'node:fs'
import { Readable } from 'node:stream'
import { execa } from 'execa'
import { Pool } from 'undici'
import { Failure } from '../failure.ts'
import { baseOf, postJson } from './post-json.ts'

export interface SpeechWish {
  readonly text: string
  readonly voice: string | undefined
  /** 1 is the voice's own pace. */
  readonly speed: number
  /** As OpenAI names them; undefined takes what the engine makes. */
  readonly format: string | undefined
}

export interface Speech {
  readonly kind: 'openai' | 'piper' | 'espeak-ng'
  /** Sound as it is made. Throws a `Failure`; ends what makes it when `signal` is aborted. */
  speak(
    wish: SpeechWish,
    signal: AbortSignal,
  ): Promise<{ readonly contentType: string; readonly sound: Readable }>
  close(): Promise<void>
}

export interface SpeechConfig {
  readonly engine: 'openai' | 'piper' | 'espeak-ng'
  readonly url?: string
  readonly model?: string
  readonly voice?: string
}

/** A long text on a slow CPU, before its first sound. */
const firstSoundMs = 60_000

/** Undefined where nothing is configured and this machine has no espeak-ng. */
export function createSpeech(config: SpeechConfig | undefined): Speech | undefined {
  if (config?.engine === 'openai' && config.url !== undefined) return openAiSpeech(config.url, config)
  if (config?.engine === 'piper' && config.url !== undefined) return piperSpeech(config.url, config)
  return config?.engine === 'espeak-ng' || existsSync('/usr/bin/espeak-ng')
    ? espeak(config?.voice)
    : undefined
}

/** `POST /v1/audio/speech`. Source: OpenAI's OpenAPI document. */
function openAiSpeech(url: string, { model = 'tts-1', voice = 'alloy' }: SpeechConfig): Speech {
  const { pool, base, post } = connect(url)
  return {
    kind: 'openai',
    speak: (wish, signal) =>
      post(
        `${base}/v1/audio/speech`,
        {
          model,
          voice: wish.voice ?? voice,
          input: wish.text,
          speed: wish.speed,
          ...(wish.format !== undefined && { response_format: wish.format }),
        },
        signal,
      ),
    close: () => pool.destroy(),
  }
}

/** `POST /` with the text as JSON gives WAV. Source: `http_server.py` in OHF-Voice/piper1-gpl. */
function piperSpeech(url: string, { voice }: SpeechConfig): Speech {
  const { pool, base, post } = connect(url)
  return {
    kind: 'piper',
    speak(wish, signal) {
      mustBeWav('Piper', wish.format)
      const spoken = wish.voice ?? voice
      return post(
        `${base}/`,
        // Its scale is of length: twice as fast is half as long.
        { text: wish.text, length_scale: 1 / wish.speed, ...(spoken !== undefined && { voice: spoken }) },
        signal,
      )
    },
    close: () => pool.destroy(),
  }
}

/** Words a minute at its own pace. Source: espeak-ng(1). */
const espeakPace = 175

function espeak(voice = 'en'): Speech {
  return {
    kind: 'espeak-ng',
    async speak(wish, signal) {
      mustBeWav('espeak-ng', wish.format)
      const spoken = wish.voice ?? voice
      if (!/^[a-z][\w+-]{0,31}$/i.test(spoken))
        throw new Failure('invalid', 'voice: espeak-ng’s voices are languages, for example "en" or "de".')
      const pace = Math.round(Math.min(Math.max(espeakPace * wish.speed, 80), 450))
      const child = execa('espeak-ng', ['--stdout', '-v', spoken, '-s', String(pace)], {
        input: wish.text,
        buffer: false,
        reject: false,
        cancelSignal: signal,
        encoding: 'buffer',
      })
      const { stdout } = child
      // Readable at its end, too.
      await Promise.race([new Promise((settle) => stdout.once('readable', settle)), child])
      if (stdout.readableLength === 0) {
        const { code } = await child
        if (code === 'ENOENT') throw new Failure('unavailable', 'espeak-ng is not installed on the gateway.')
        throw new Failure('invalid', `voice: espeak-ng has none that is called “${spoken}”.`)
      }
      return { contentType: 'audio/wav', sound: stdout }
    },
    async close() {},
  }
}

function mustBeWav(name: string, format: string | undefined): void {
  if (format !== undefined && format !== 'wav')
    throw new Failure('invalid', `response_format: ${name} makes wav, not ${format.slice(0, 16)}.`)
}

function connect(url: string) {
  const pool = new Pool(new URL(url).origin, {
    connections: 8,
    headersTimeout: firstSoundMs,
    bodyTimeout: firstSoundMs,
  })
  const post = async (path: string, body: object, signal: AbortSignal) => {
    const answer = await postJson(pool, 'speech engine', path, body, signal)
    const type = answer.headers['content-type']
    return { contentType: typeof type === 'string' ? type : 'audio/wav', sound: answer.body }
  }
  return { pool, base: baseOf(url), post }
}
