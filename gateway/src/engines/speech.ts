/** Text to speech, whichever engine speaks: what it is asked, and who goes next. */
import { existsSync } from 'node:fs'
import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import type { SpeakingVoice } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import { createEmbedded, embeddedVoice } from './embedded.ts'
import { espeak } from './espeak.ts'
import { openAiSpeech, piperSpeech } from './http-speech.ts'
import type { ModelStore } from './model-store.ts'
import { voices } from './models.ts'
import { bytesOf } from './pcm.ts'
import { createFairQueue } from './queue.ts'
import {
  speechRate,
  type SayWish,
  type SpeechConfig,
  type SpeechWish,
  type Spoken,
  type Voice,
} from './voice.ts'
import { wavHeader } from './wav.ts'
import { wyomingSpeech } from './wyoming-speech.ts'

export interface Speech {
  readonly kind: Voice['kind']
  /** Sound as it is made. Throws a `Failure`; ends what makes it when `signal` is aborted. */
  speak(wish: SpeechWish, signal: AbortSignal): Promise<Spoken>
  /**
   * PCM16 mono at 24 kHz as it is made, from now on and ahead of who reads it. Many may be asked for at once:
   * they are spoken as their turns come. Throws a `Failure`, `busy` where too many wait; ends what makes it at
   * once when `signal` is aborted, and when its reader goes.
   */
  say(wish: SayWish, signal: AbortSignal): AsyncIterable<Int16Array>
  /** Those that may be asked for, as of a minute ago; empty where the engine does not tell. Never throws. */
  voices(): Promise<readonly SpeakingVoice[]>
  close(): Promise<void>
}

/** A slow reader keeps nobody's turn up: five minutes of sound, 14 MB, are made ahead of it. */
const aheadSamples = 5 * 60 * speechRate
/** For which a list of voices is kept. */
const listedMs = 60_000
const listTimeoutMs = 5_000

/**
 * Undefined where nothing is configured and this machine has no espeak-ng.
 *
 * @param store where the embedded voice's model is, or is fetched to when it is first asked to speak
 */
export function createSpeech(config: SpeechConfig | undefined, store?: ModelStore): Speech | undefined {
  const voice = voiceOf(config, store)
  return voice && inTurn(voice)
}

function voiceOf(config: SpeechConfig | undefined, store: ModelStore | undefined): Voice | undefined {
  if (config?.engine === 'openai' && config.url !== undefined) return openAiSpeech(config.url, config)
  if (config?.engine === 'piper' && config.url !== undefined) return piperSpeech(config.url, config)
  if (config?.engine === 'wyoming' && config.url !== undefined) return wyomingSpeech(config.url, config)
  const model = voices.find(({ name }) => name === config?.model) ?? voices[0]
  if (config?.engine === 'sherpa' && store && model)
    return embeddedVoice(createEmbedded(store, model), model, config.voice)
  return config?.engine === 'espeak-ng' || existsSync('/usr/bin/espeak-ng')
    ? espeak(config?.voice)
    : undefined
}

/** One line of waiting for each voice, in which tenants and callers take turns. */
function inTurn(voice: Voice): Speech {
  const queue = createFairQueue(voice.parallel)
  const say: Speech['say'] = ({ tenant = '', caller = '', ...wish }, signal) => {
    const unread = new AbortController()
    const left = AbortSignal.any([signal, unread.signal])
    let leave = (): void => {}
    let sound: AsyncIterator<Int16Array> | undefined
    let stop = (): void => {}
    const finish = (): void => {
      left.removeEventListener('abort', stop)
      // Whatever it holds is given back, wherever it stands.
      sound?.return?.().catch(() => {})
      leave()
    }
    const speak = async () => {
      left.throwIfAborted()
      leave = await queue.enter({ tenant, caller, signal: left })
      return voice.sound(wish, left)[Symbol.asyncIterator]()
    }
    return new ReadableStream<Int16Array>(
      {
        start(controller) {
          // What was read ahead is not wanted any more, either.
          stop = () => {
            controller.error(left.reason)
            finish()
          }
          left.addEventListener('abort', stop, { once: true })
        },
        async pull(controller) {
          try {
            sound ??= await speak()
            const { done, value } = await sound.next()
            if (done !== true) return controller.enqueue(value)
            controller.close()
            finish()
          } catch (error) {
            finish()
            throw error
          }
        },
        cancel() {
          unread.abort()
        },
      },
      { highWaterMark: aheadSamples, size: ({ length }) => length },
    )
  }
  let listed: { readonly at: number; readonly voices: Promise<readonly SpeakingVoice[]> } | undefined
  return {
    kind: voice.kind,
    voices() {
      if (!listed || performance.now() - listed.at > listedMs)
        listed = {
          at: performance.now(),
          voices: voice.voices(AbortSignal.timeout(listTimeoutMs)).catch(() => {
            listed = undefined
            return []
          }),
        }
      return listed.voices
    },
    say,
    speak: (wish, signal) =>
      voice.file && (wish.format === undefined || voice.formats.includes(wish.format))
        ? voice.file(wish, signal)
        : fromSamples(voice, wish, () => say(wish, signal)),
    close: () => voice.close(),
  }
}

/** `pcm` and `wav`, which any voice's samples make. */
async function fromSamples(
  { kind, formats }: Voice,
  { format = 'wav' }: SpeechWish,
  say: () => AsyncIterable<Int16Array>,
): Promise<Spoken> {
  if (format !== 'pcm' && format !== 'wav')
    throw new Failure(
      'invalid',
      `response_format: ${kind} makes ${[...new Set([...formats, 'wav', 'pcm'])].join(' and ')}, not ${format.slice(0, 16)}.`,
    )
  const sound = say()[Symbol.asyncIterator]()
  // Before its first sound it may still be refused.
  const first = await sound.next()
  async function* bytes(): AsyncGenerator<Buffer> {
    try {
      if (format === 'wav') yield wavHeader(speechRate)
      for (let next = first; next.done !== true; next = await sound.next()) yield bytesOf(next.value)
    } finally {
      await sound.return?.()
    }
  }
  return {
    contentType: format === 'wav' ? 'audio/wav' : 'audio/pcm',
    sound: Readable.from(bytes(), { objectMode: false }),
  }
}
