import { once } from 'node:events'
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createEngines } from './discovery.ts'
import { createEmbedded, embeddedVoice, embeddedWhisper } from './embedded.ts'
import { createModelStore, type ModelStore } from './model-store.ts'
import { voices, whispers, type Model } from './models.ts'
import { createSherpa } from './sherpa.ts'
import { createSpeech, type Speech } from './speech.ts'
import { deadUrl, silentLog } from './upstream.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const never = new AbortController().signal
const standIn = new URL('./sherpa-child.fixture.ts', import.meta.url)
const [multilingual, english] = whispers as [Model, Model]

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'sotto-embedded-'))
  closers.push(() => rm(path, { recursive: true }))
  return path
}

/** The process stands in for sherpa-onnx: what is tested is the boundary. */
function ears(model = multilingual) {
  const sherpa = createSherpa(model, 'nowhere', standIn)
  const embedded = { sherpa: () => sherpa, close: () => sherpa.close() }
  closers.push(embedded.close)
  return embeddedWhisper(embedded, model)
}

function mouth() {
  const sherpa = createSherpa(voices[0] as Model, 'nowhere', standIn)
  closers.push(() => sherpa.close())
  return embeddedVoice({ sherpa: () => sherpa, close: () => sherpa.close() }, voices[0] as Model)
}

async function heard(sound: AsyncIterable<Int16Array>): Promise<number[]> {
  const samples: number[] = []
  for await (const chunk of sound) samples.push(...chunk)
  return samples
}

describe('the process of the embedded engine', () => {
  it('hears samples, in the language that was asked for', async () => {
    const whisper = ears()
    expect(await whisper.transcribe(Int16Array.of(1, -2), never, { language: 'de' })).toMatch(/^\d+:1,-2:de$/)
    expect(await whisper.transcribe(Int16Array.of(3), never)).toMatch(/^\d+:3:$/)
  })

  it('ends alone when it crashes, says so, and starts again', async () => {
    const whisper = ears()
    const before = await whisper.transcribe(Int16Array.of(1), never)
    const crash = whisper.transcribe(Int16Array.of(13), never)
    const beside = whisper.transcribe(Int16Array.of(7), never)
    await expect(crash).rejects.toMatchObject({ code: 'unavailable' })
    await expect(beside).rejects.toMatchObject({ code: 'unavailable' })
    const after = await whisper.transcribe(Int16Array.of(1), never)
    expect(after.split(':')[0]).not.toBe(before.split(':')[0])
  })

  it('is left at once by who does not want its words any more', async () => {
    const whisper = ears()
    const stop = new AbortController()
    const hearing = whisper.transcribe(Int16Array.of(7), stop.signal)
    stop.abort()
    await expect(hearing).rejects.toThrow('abort')
    expect(await whisper.transcribe(Int16Array.of(1), never)).toMatch(/:1:$/)
  })

  it('is not asked for what would end it', async () => {
    const samples = Int16Array.of(1)
    for (const [whisper, language, say] of [
      [ears(), 'klingon', 'ISO 639-1'],
      [ears(english), 'de', 'English alone'],
    ] as const)
      await expect(whisper.transcribe(samples, never, { language })).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringContaining(say) as string,
      })
    await expect(
      heard(mouth().sound({ text: 'Hi', voice: 'klingon', speed: 1 }, never)),
    ).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('af_bella') as string,
    })
  })

  it('speaks at 24 kHz, and no crash is a quiet end', async () => {
    const voice = mouth()
    expect((await voice.voices(never))[1]).toEqual({ id: 'af_bella', name: 'af_bella', language: 'en' })
    expect(await heard(voice.sound({ text: 'Hi', voice: 'af_bella', speed: 1 }, never))).toHaveLength(4_800)
    await expect(heard(voice.sound({ text: 'crash', speed: 1 }, never))).rejects.toMatchObject({
      code: 'unavailable',
    })
    const stop = new AbortController()
    const sound = voice.sound({ text: 'slowly', speed: 1 }, stop.signal)[Symbol.asyncIterator]()
    expect((await sound.next()).done).toBe(false)
    stop.abort()
    await expect(sound.next()).rejects.toThrow('abort')
  })

  it('says what is wrong with a model that is none: with sherpa-onnx itself', async () => {
    const place = await folder()
    const missing = createSherpa(multilingual, place)
    closers.push(() => missing.close())
    const ask = (sherpa: typeof missing) =>
      embeddedWhisper({ sherpa: () => sherpa, close: () => sherpa.close() }, multilingual).transcribe(
        Int16Array.of(1),
        never,
      )
    await expect(ask(missing)).rejects.toMatchObject({
      code: 'unavailable',
      message:
        'The embedded speech engine can’t use its model: base-encoder.int8.onnx is missing in its folder.',
    })
    for (const { name } of multilingual.files)
      await writeFile(join(place, name), name.endsWith('.txt') ? 'IQ== 0\n' : 'no model')
    const broken = createSherpa(multilingual, place)
    closers.push(() => broken.close())
    await expect(ask(broken)).rejects.toMatchObject({
      code: 'unavailable',
      message: 'The embedded speech engine can’t use its model: its files are not those of a Whisper.',
    })
  })
})

describe('the embedded engine', () => {
  /** A store whose fetch goes as far as the test lets it. */
  function fetching() {
    let there = false
    const done = Promise.withResolvers<void>()
    const store: ModelStore = {
      find: () => (there ? 'somewhere' : undefined),
      async fetch(_, onProgress, signal) {
        onProgress(0.437)
        await Promise.race([done.promise, once(signal, 'abort')])
        signal.throwIfAborted()
        there = true
        return 'somewhere'
      },
    }
    return { store, ...done }
  }

  it('says how far its model is, and is there when that is', async () => {
    const { store, resolve } = fetching()
    const embedded = createEmbedded(store, multilingual)
    closers.push(embedded.close)
    expect(() => embedded.sherpa()).toThrow('Fetching whisper-base: 43 % of 161 MB.')
    resolve()
    await expect.poll(() => embedded.sherpa()).toBeDefined()
  })

  it('says why its model can not be had, and does not ask again at once', async () => {
    const { store, reject } = fetching()
    const speech = createSpeech({ engine: 'sherpa' }, store) as Speech
    closers.push(() => speech.close())
    const say = () => heard(speech.say({ text: 'Hi', speed: 1 }, never))
    await expect(say()).rejects.toMatchObject({
      message: expect.stringContaining('Fetching kokoro') as string,
    })
    reject(new Error('disk'))
    await expect.poll(() => say().catch(({ message }: Error) => message)).toContain('can’t be stored')
  })

  const look = async (options: object, directory: string) => {
    const backends = [{ name: 'ollama', url: await deadUrl(), kind: 'ollama', parallel: 4 } as const]
    const embedded = { store: createModelStore(directory), ...options }
    const engines = await createEngines({ backends, embedded, log: silentLog, everyMs: 10 })
    closers.push(engines.close)
    return engines
  }

  it('is nothing that a plain start fetches: there is the demo, with both ways out of it', async () => {
    const engines = await look({}, await folder())
    expect(engines.states.transcription).toMatchObject({ kind: 'demo', problem: 'No Whisper is configured.' })
    expect(engines.states.transcription.remedy).toMatch(/--whisper .*embedded: true/)
  })

  it('is taken up where a model’s files are there, also while the gateway runs', async () => {
    const directory = await folder()
    const engines = await look({}, directory)
    expect(engines.transcriber.kind).toBe('demo')
    await mkdir(join(directory, 'whisper-base'))
    for (const { name, bytes } of multilingual.files) {
      await writeFile(join(directory, 'whisper-base', name), 'no model')
      await truncate(join(directory, 'whisper-base', name), bytes)
    }
    // Native code that ends its process at them, with nobody else in it.
    await expect
      .poll(() => engines.states.transcription)
      .toEqual({
        kind: 'sherpa',
        ready: true,
        models: ['whisper-base'],
      })
    await expect(engines.transcriber.transcribe(Int16Array.of(1), never)).rejects.toMatchObject({
      message:
        'The embedded speech engine can’t load its model. Delete models/whisper-base in the state directory: it is fetched anew.',
    })
  })

  it('is fetched where the config says so, and shows how far it is', async () => {
    const { store } = fetching()
    const engines = await look({ store, whisper: 'whisper-base' }, '')
    await expect
      .poll(() => engines.states.transcription.problem)
      .toBe('Fetching whisper-base: 43 % of 161 MB.')
  })
})
