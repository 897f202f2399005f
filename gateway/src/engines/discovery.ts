/** Looks for the engines, takes up what it finds and lets go of what is gone, without a restart. */
import type { Logger } from 'pino'
import type { EngineState, EngineStates } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import { createBackend, type Backend, type BackendConfig } from './backend.ts'
import { demoChat, demoTranscriber } from './demo.ts'
import { createEmbedded, embeddedWhisper } from './embedded.ts'
import type { Engines, Transcriber } from './engine.ts'
import type { ModelStore } from './model-store.ts'
import { whispers } from './models.ts'
import { createOllamaChat } from './ollama.ts'
import { createModelPool, type ModelPool } from './pool.ts'
import { createPatience, lookEveryMs, probeTimeoutMs, sleeps } from './watch.ts'
import { inTurn } from './turns.ts'
import { findWhisper, type Whisper } from './whisper.ts'

export interface EngineOptions {
  /** Where models are, in the order in which they are named. */
  readonly backends: readonly BackendConfig[]
  /** Names that clients may say, with the models that they mean. */
  readonly aliases?: Readonly<Record<string, string>>
  /** Where Whisper is looked for; without it there is the embedded one, or only the demo. */
  readonly whisper?: string
  readonly embedded?: EmbeddedOptions
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Between two looks, in milliseconds. */
  readonly everyMs?: number
}

export interface EmbeddedOptions {
  readonly store: ModelStore
  /** The Whisper that is fetched where it is missing; left out, one whose files are there is used. */
  readonly whisper?: string
}

/** Resolves after the first look, so that a start can say what was found. */
export async function createEngines(options: EngineOptions): Promise<Engines> {
  const listeners = new Set<(states: EngineStates) => void>()
  const stop = new AbortController()
  const everyMs = options.everyMs ?? lookEveryMs
  const backends: Backend[] = []
  const pool = createModelPool(backends, options.aliases)
  const ollama = createOllamaChat(pool)
  const whisper = whisperSeeker(whisperFinder(options), remedyFor(options))
  const states = (): EngineStates => ({ chat: chatState(backends, pool), transcription: whisper.now.state })
  let told = ''
  const tell = (): void => {
    const now = states()
    if (JSON.stringify(now) === told || stop.signal.aborted) return
    told = JSON.stringify(now)
    options.log.info({ engines: now }, 'an engine changed')
    for (const listener of listeners) listener(now)
  }
  const look = async (): Promise<void> => {
    await whisper.look(AbortSignal.any([stop.signal, AbortSignal.timeout(probeTimeoutMs)]))
  }
  const [made] = await Promise.all([
    Promise.all(options.backends.map((config) => createBackend(config, tell, options.everyMs))),
    look(),
  ])
  backends.push(...made)
  told = JSON.stringify(states())
  const looking = (async () => {
    while (await sleeps(everyMs, stop.signal)) {
      await look()
      tell()
    }
  })()
  return {
    get chat() {
      const { ready, kind } = chatState(backends, pool)
      return ready && kind !== 'demo' ? ollama : demoChat
    },
    get transcriber() {
      return whisper.now.engine
    },
    get states() {
      return states()
    },
    pool,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async close() {
      stop.abort()
      await looking
      await Promise.all([...backends, whisper].map((one) => one.close()))
    },
  }
}

const installOllama = 'Install Ollama (https://ollama.com/download), then: ollama pull llama3.2'
const freePort =
  'Stop the program that has Ollama’s port, or start the gateway with: npm start -- --ollama URL'

/** How all backends are, as one engine. */
function chatState(backends: readonly Backend[], pool: ModelPool): EngineState {
  const models = pool.models.map(({ name }) => name)
  if (models.length > 0) return { kind: 'ollama', ready: true, models }
  if (backends.some(({ state }) => state.status === 'up'))
    return {
      kind: 'ollama',
      ready: false,
      models,
      problem: 'Ollama has no model yet.',
      remedy: 'ollama pull llama3.2',
    }
  const [failure] = backends.flatMap(({ state }) =>
    state.status === 'down' && state.failure ? [state.failure] : [],
  )
  return {
    kind: 'demo',
    ready: true,
    models: [],
    problem: failure?.message ?? 'No Ollama answers.',
    remedy: failure?.code === 'bad_upstream' ? freePort : installOllama,
  }
}

interface Seeker {
  readonly now: { readonly state: EngineState }
  look(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

interface Finder {
  /** Throws a `Failure` where there is nothing, or not yet. */
  find(signal: AbortSignal): Promise<Whisper>
  close(): Promise<void>
}

function whisperFinder({ whisper, embedded }: EngineOptions): Finder {
  if (whisper !== undefined) return { find: (signal) => findWhisper(whisper, signal), async close() {} }
  const wanted = whispers.find(({ name }) => name === embedded?.whisper)
  const fetched = embedded && wanted && createEmbedded(embedded.store, wanted)
  return {
    async find() {
      const model = wanted ?? whispers.find((one) => embedded?.store.find(one) !== undefined)
      if (!embedded || !model) throw new Failure('unavailable', 'No Whisper is configured.')
      const process = fetched ?? createEmbedded(embedded.store, model)
      process.sherpa()
      return embeddedWhisper(process, model)
    },
    close: async () => fetched?.close(),
  }
}

function remedyFor({ whisper, embedded }: EngineOptions): string {
  if (whisper === undefined && embedded?.whisper !== undefined)
    return 'It goes on by itself; the README says how to put the files there by hand.'
  return (
    "Start whisper.cpp's whisper-server, then the gateway with: npm start -- --whisper http://127.0.0.1:8080. " +
    'Or write “embedded: true” in config.yaml: the gateway then fetches a Whisper of its own.'
  )
}

function whisperSeeker(
  finder: Finder,
  remedy: string,
): Seeker & { readonly now: { state: EngineState; engine: Transcriber } } {
  let found: Whisper | undefined
  const missing = (problem: string) => ({
    engine: demoTranscriber,
    state: { kind: 'demo' as const, ready: true, models: [], problem, remedy },
  })
  let now: { state: EngineState; engine: Transcriber } = missing('No Whisper is configured.')
  const slow = createPatience('unavailable')
  return {
    get now() {
      return now
    },
    async look(signal) {
      try {
        if (found) await found.probe(signal)
        else found = inTurn(await finder.find(signal))
        now = { engine: found, state: { kind: found.kind, ready: true, models: found.models } }
        slow.answered()
      } catch (error) {
        if (slow.bears(error)) return
        // What comes back there may be another kind of server: it is asked anew.
        const gone = found
        found = undefined
        // Not awaited: a transcript on its way may still arrive.
        gone?.close().catch(() => {})
        now = missing(error instanceof Failure ? error.message : 'No Whisper answers.')
      }
    },
    async close() {
      await found?.close()
      await finder.close()
    },
  }
}
