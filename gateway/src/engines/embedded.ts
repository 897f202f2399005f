/** The engine that needs no server: a Whisper and a voice in a process of our own, whose models are fetched once. */
import { Failure } from '../failure.ts'
import type { ModelStore } from './model-store.ts'
import type { Model } from './models.ts'
import { hearFile } from './recording.ts'
import { resampled } from './resample.ts'
import { createSherpa, type Sherpa } from './sherpa.ts'
import type { SherpaReply } from './sherpa-protocol.ts'
import { onOneLine } from './transcript.ts'
import { speechRate, type Voice } from './voice.ts'
import type { Whisper } from './whisper.ts'

export interface Embedded {
  /**
   * The process with the model. While the model is not there it is being fetched, from the first call on: then
   * throws a `Failure` that says how far it is, or why it can't be.
   */
  sherpa(): Sherpa
  close(): Promise<void>
}

/** Those that Whisper was trained on: for any other, sherpa-onnx ends its process. Source: `tokenizer.py` in openai/whisper. */
const languages = new Set(
  (
    'en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt ' +
    'la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ' +
    'ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su'
  ).split(' '),
)
/** After a fetch that failed. */
const patienceMs = 60_000

export function createEmbedded(store: ModelStore, model: Model): Embedded {
  const stop = new AbortController()
  let sherpa: Sherpa | undefined
  let fetching: Promise<unknown> | undefined
  let part = 0
  let failed: { readonly why: Failure; readonly at: number } | undefined
  const fetch = async (): Promise<void> => {
    try {
      await store.fetch(model, (now) => (part = now), stop.signal)
      failed = undefined
    } catch (error) {
      const why =
        error instanceof Failure ? error : new Failure('internal', `${model.name} can’t be stored.`, error)
      failed = { why, at: performance.now() }
    } finally {
      fetching = undefined
    }
  }
  return {
    sherpa() {
      if (sherpa) return sherpa
      const folder = fetching ? undefined : store.find(model)
      if (folder !== undefined) return (sherpa = createSherpa(model, folder))
      if (failed && performance.now() - failed.at < patienceMs) throw failed.why
      fetching ??= fetch()
      throw new Failure(
        'unavailable',
        `Fetching ${model.name}: ${Math.floor(part * 100)} % of ${megabytes(model)} MB.`,
        undefined,
        { retryAfter: 10 },
      )
    },
    async close() {
      stop.abort()
      await fetching
      await sherpa?.close()
    },
  }
}

export function embeddedWhisper(embedded: Embedded, { name, multilingual = false }: Model): Whisper {
  const hear: Whisper['transcribe'] = async (samples, signal, { language = '' } = {}) => {
    if (language !== '' && !languages.has(language))
      throw new Failure('invalid', 'language: an ISO 639-1 code that Whisper knows, such as en or de.')
    if (!multilingual && language !== '' && language !== 'en')
      throw new Failure('invalid', 'language: this speech-to-text knows English alone.')
    const words: string[] = []
    for await (const reply of embedded.sherpa().ask({ type: 'hear', samples, language }, signal))
      if (reply.type === 'text') words.push(reply.text)
    return onOneLine(words.join(' '))
  }
  return {
    kind: 'sherpa',
    models: [name],
    transcribe: hear,
    transcribeFile: (file, wish, signal) => hearFile(file, wish, (samples) => hear(samples, signal, wish)),
    async probe() {
      embedded.sherpa()
    },
    close: () => embedded.close(),
  }
}

export function embeddedVoice(
  embedded: Embedded,
  { speakers = [], language }: Model,
  own = speakers[0],
): Voice {
  return {
    kind: 'sherpa',
    parallel: 1,
    formats: [],
    async *sound({ text, speed, voice = own }, signal) {
      const speaker = speakers.indexOf(voice ?? '')
      if (speaker === -1) throw new Failure('invalid', `voice: one of ${speakers.join(', ')}.`)
      const replies = embedded.sherpa().ask({ type: 'say', text, speaker, speed }, signal)
      const sound = replies[Symbol.asyncIterator]()
      try {
        const first = await sound.next()
        if (first.done === true || first.value.type !== 'sound') return
        yield* resampled(samplesOf(first, sound), first.value.sampleRate, speechRate)
      } finally {
        await sound.return?.()
      }
    },
    voices: async () => speakers.map((id) => ({ id, name: id, language: language ?? null })),
    close: () => embedded.close(),
  }
}

async function* samplesOf(
  first: IteratorResult<SherpaReply>,
  sound: AsyncIterator<SherpaReply>,
): AsyncGenerator<Int16Array> {
  for (let next = first; next.done !== true; next = await sound.next())
    if (next.value.type === 'sound') yield next.value.samples
}

function megabytes({ files }: Model): number {
  return Math.round(files.reduce((sum, { bytes }) => sum + bytes, 0) / 1_000_000)
}
