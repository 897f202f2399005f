/** Looks for the engines, takes up what it finds and lets go of what is gone, without a restart. */
import type { Logger } from 'pino'
import type { EngineState, EngineStates } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import { createBackend, type Backend, type BackendConfig } from './backend.ts'
import { demoChat } from './demo.ts'
import { createEmbedded, embeddedWhisper } from './embedded.ts'
import type { Engines } from './engine.ts'
import { createLent } from './lent.ts'
import type { ModelStore } from './model-store.ts'
import { whispers } from './models.ts'
import { createOllamaChat } from './ollama.ts'
import { createModelPool, type ModelPool } from './pool.ts'
import { lookEveryMs, probing, sleeps } from './watch.ts'
import { whisperSeeker, type WhisperFinder } from './whisper-seeker.ts'
import { findWhisper } from './whisper.ts'

export interface EngineOptions {
  /** Where models are, in the order in which they are named. */
  readonly backends: readonly BackendConfig[]
  /** Names that clients may say, with the models that they mean. */
  readonly aliases?: Readonly<Record<string, string>>
  /** Where Whisper is looked for; without it there is the embedded one, or only the demo. */
  readonly whisper?: WhisperOptions
  readonly embedded?: EmbeddedOptions
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Between two looks, in milliseconds. */
  readonly everyMs?: number
}

export interface WhisperOptions {
  readonly url: string
  /** How many recordings it hears at once. */
  readonly parallel: number
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
  /** All of them: those of the house first, then friends'. */
  const backends: Backend[] = []
  const own: Backend[] = []
  const pool = createModelPool(backends, options.aliases)
  const ownPool = createModelPool(own, options.aliases)
  const ollama = createOllamaChat(pool)
  const whisper = whisperSeeker(whisperFinder(options), remedyFor(options), options.whisper?.parallel)
  const lent = new Set<ReturnType<typeof createLent>>()
  /** The gateway's own before those that are lent. */
  const hears = () =>
    [whisper, ...[...lent].map((one) => one.whisper)].find(({ now }) => now.state.kind !== 'demo') ?? whisper
  const states = (): EngineStates => ({
    chat: chatState(own, pool),
    transcription: hears().now.state,
  })
  let told = ''
  const tell = (): void => {
    const now = states()
    if (JSON.stringify(now) === told || stop.signal.aborted) return
    told = JSON.stringify(now)
    options.log.info({ engines: now }, 'an engine changed')
    for (const listener of listeners) listener(now)
  }
  const look = (): Promise<unknown> =>
    probing(stop.signal, (signal) =>
      Promise.all([whisper, ...[...lent].map((one) => one.whisper)].map((one) => one.look(signal))),
    )
  const [made] = await Promise.all([
    Promise.all(options.backends.map((config) => createBackend(config, tell, options.everyMs))),
    look(),
  ])
  backends.push(...made)
  own.push(...made)
  told = JSON.stringify(states())
  const looking = (async () => {
    while (await sleeps(everyMs, stop.signal)) {
      await look()
      tell()
    }
  })()
  return {
    get chat() {
      const { ready, kind } = chatState(own, pool)
      return ready && kind !== 'demo' ? ollama : demoChat
    },
    get transcriber() {
      return hears().now.engine
    },
    get states() {
      return states()
    },
    pool,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async lend(lender) {
      const taken = createLent(lender)
      lent.add(taken)
      const backend =
        lender.ollama === undefined
          ? undefined
          : await createBackend(lender.ollama, tell, options.everyMs, lender.upstream)
      if (backend) {
        backends.splice(own.length, 0, backend)
        own.push(backend)
        taken.backends.push(backend)
      }
      await probing(stop.signal, taken.whisper.look)
      tell()
      return {
        engines: taken.engines,
        async leave() {
          lent.delete(taken)
          if (backend) for (const list of [backends, own]) list.splice(list.indexOf(backend), 1)
          tell()
          await Promise.all([backend?.close(), taken.whisper.close()])
        },
      }
    },
    befriend(make) {
      const backend = make(tell)
      backends.push(backend)
      tell()
      return async () => {
        backends.splice(backends.indexOf(backend), 1)
        tell()
        await backend.close()
      }
    },
    own: {
      pool: ownPool,
      get transcriber() {
        return hears().now.engine
      },
      get states() {
        const models = ownPool.models.map(({ name }) => name)
        // Never the demo: who asks for a model by name gets it, or an error.
        const chat = { kind: 'ollama', ready: models.length > 0, models } as const
        return { chat, transcription: hears().now.state }
      },
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

/** How the house’s backends are, as one engine, with whatever models there are. */
function chatState(backends: readonly Backend[], pool: ModelPool): EngineState {
  const models = pool.models.map(({ name }) => name)
  const { details } = pool
  if (models.length > 0)
    return {
      kind: 'ollama',
      ready: true,
      models,
      ...(Object.keys(details).length > 0 && { details }),
    }
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

function whisperFinder({ whisper, embedded }: EngineOptions): WhisperFinder {
  if (whisper !== undefined) return { find: (signal) => findWhisper(whisper.url, signal), async close() {} }
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
