/** The process of the embedded engine: native code that may crash, and takes nobody with it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import sherpa, { type Recognizer, type Tts } from 'sherpa-onnx-node'
import type { SherpaConfig, SherpaReply, SherpaRequest, SherpaWish } from './sherpa-protocol.ts'

/** Whisper hears no more than 30 s at once; a cut is sought where it is quietest in the five seconds before. */
const windowSamples = 29 * 16_000
const cutSamples = 5 * 16_000
const quietSamples = 1_600

type Reply = SherpaReply extends infer R ? (R extends { id: number } ? Omit<R, 'id'> : never) : never
type Work = (wish: SherpaWish, reply: (reply: Reply) => void, stopped: () => boolean) => Promise<void>

const stopped = new Set<number>()
let opening: Promise<Work> | undefined
let turn: Promise<unknown> = Promise.resolve()

process.on('message', (request: SherpaRequest) => {
  if (request.type === 'open') opening = open(request.config)
  else if (request.type === 'stop') stopped.add(request.id)
  // One after another: a model is not made for two at once.
  else turn = turn.then(() => serve(request.id, request))
})
process.once('disconnect', () => process.exit())

async function serve(id: number, wish: SherpaWish): Promise<void> {
  const reply = (one: Reply): void => {
    process.send?.({ id, ...one })
  }
  try {
    const work = await opening
    if (!stopped.has(id)) await work?.(wish, reply, () => stopped.has(id))
    reply({ type: 'done' })
  } catch (error) {
    const { message, cause } = error instanceof Error ? error : new Error('unknown', { cause: error })
    reply({ type: 'failed', message, detail: String(cause) })
  } finally {
    stopped.delete(id)
  }
}

async function open({ folder, parts, multilingual, threads: numThreads }: SherpaConfig): Promise<Work> {
  const place = (name: string): string => {
    const path = join(folder, name)
    if (!existsSync(path)) throw new Error(`${name} is missing in its folder.`)
    return path
  }
  if ('whisper' in parts) {
    const { encoder, decoder } = parts.whisper
    const whisper = {
      encoder: place(encoder),
      decoder: place(decoder),
      language: '',
      task: 'transcribe',
    } as const
    const modelConfig = { whisper, tokens: place(parts.tokens), numThreads, debug: 0 } as const
    const recognizer = await sherpa.OfflineRecognizer.createAsync({ modelConfig }).catch(
      because('its files are not those of a Whisper.'),
    )
    return hears(recognizer, multilingual)
  }
  const { model, tokens, dataDir } = 'vits' in parts ? parts.vits : parts.kokoro
  const voice = { model: place(model), tokens: place(tokens), dataDir: place(dataDir) }
  const either =
    'vits' in parts ? { vits: voice } : { kokoro: { ...voice, voices: place(parts.kokoro.voices) } }
  // A sentence at a time: each is heard while the next is made.
  const tts = await sherpa.OfflineTts.createAsync({
    model: { ...either, numThreads, debug: 0 },
    maxNumSentences: 1,
  }).catch(because('its files are not those of a voice.'))
  return speaks(tts)
}

function hears(recognizer: Recognizer, multilingual: boolean): Work {
  return async (wish, reply, isStopped) => {
    if (wish.type !== 'hear') throw new Error('This model hears.')
    const { config: now } = recognizer
    const { whisper } = now.modelConfig
    if (multilingual && whisper.language !== wish.language)
      recognizer.setConfig({
        ...now,
        modelConfig: { ...now.modelConfig, whisper: { ...whisper, language: wish.language } },
      })
    const words: string[] = []
    for (const part of windows(wish.samples)) {
      if (isStopped()) return
      const stream = recognizer.createStream()
      stream.acceptWaveform({ samples: Float32Array.from(part, (one) => one / 32_768), sampleRate: 16_000 })
      const { text } = await recognizer.decodeAsync(stream).catch(because('it failed at this recording.'))
      words.push(text)
    }
    reply({ type: 'text', text: words.join(' ') })
  }
}

function speaks(tts: Tts): Work {
  return async (wish, reply, isStopped) => {
    if (wish.type !== 'say') throw new Error('This model speaks.')
    const generating = tts.generateAsync({
      text: wish.text,
      sid: wish.speaker,
      speed: wish.speed,
      enableExternalBuffer: false,
      onProgress({ samples }) {
        reply({
          type: 'sound',
          samples: Int16Array.from(samples, (one) => Math.max(-1, Math.min(1, one)) * 32_767),
          sampleRate: tts.sampleRate,
        })
        return !isStopped()
      },
    })
    await generating.catch(because('it failed at this text.'))
  }
}

/** Native errors have paths in them: those are for the log. */
function because(message: string): (cause: unknown) => never {
  return (cause) => {
    throw new Error(message, { cause })
  }
}

function* windows(samples: Int16Array): Generator<Int16Array> {
  let start = 0
  while (samples.length - start > windowSamples) {
    const end = quietest(samples, start + windowSamples - cutSamples, start + windowSamples)
    yield samples.subarray(start, end)
    start = end
  }
  if (start < samples.length) yield samples.subarray(start)
}

/** The middle of the tenth of a second with the least sound. */
function quietest(samples: Int16Array, from: number, to: number): number {
  let least = Infinity
  let middle = to
  for (let at = from; at + quietSamples <= to; at += quietSamples) {
    const sound = samples.subarray(at, at + quietSamples).reduce((sum, one) => sum + Math.abs(one), 0)
    if (sound >= least) continue
    least = sound
    middle = at + quietSamples / 2
  }
  return middle
}
