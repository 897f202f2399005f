/** Looks for the engines, takes up what it finds and lets go of what is gone, without a restart. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { EngineState, EngineStates } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import { demoChat, demoTranscriber } from './demo.ts'
import type { ChatEngine, Engines, Transcriber, Upstream } from './engine.ts'
import { createOllama } from './ollama.ts'
import { findWhisper, type Whisper } from './whisper.ts'

export interface EngineOptions {
  /** Where Ollama is looked for. */
  readonly ollama: string
  /** Where Whisper is looked for; without it there is only the demo. */
  readonly whisper?: string
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Between two looks, in milliseconds. */
  readonly everyMs?: number
}

/** A person who starts Ollama while the page is open sees it taken up at once. */
const lookEveryMs = 2_000
/** An engine that takes longer to say who it is than this is looked at again later. */
const probeTimeoutMs = 1_500

/** Resolves after the first look, so that a start can say what was found. */
export async function createEngines(options: EngineOptions): Promise<Engines> {
  const listeners = new Set<(states: EngineStates) => void>()
  const stop = new AbortController()
  const ollama = ollamaSeeker(options.ollama)
  const whisper = whisperSeeker(options.whisper)
  const everyMs = options.everyMs ?? lookEveryMs
  const states = (): EngineStates => ({ chat: ollama.now.state, transcription: whisper.now.state })

  const look = async (seeker: Seeker): Promise<void> => {
    const before = JSON.stringify(seeker.now.state)
    await seeker.look(AbortSignal.any([stop.signal, AbortSignal.timeout(probeTimeoutMs)]))
    if (JSON.stringify(seeker.now.state) === before || stop.signal.aborted) return
    options.log.info({ engine: seeker.now.state }, 'an engine changed')
    for (const listener of listeners) listener(states())
  }
  const seekers = [ollama, whisper]
  await Promise.all(seekers.map(look))
  const looking = Promise.all(
    seekers.map(async (seeker) => {
      while (await sleeps(everyMs, stop.signal)) await look(seeker)
    }),
  )

  return {
    get chat() {
      return ollama.now.engine
    },
    get transcriber() {
      return whisper.now.engine
    },
    get states() {
      return states()
    },
    get upstream() {
      return ollama.now.upstream
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async close() {
      stop.abort()
      await looking
      await Promise.all(seekers.map((seeker) => seeker.close()))
    },
  }
}

const installOllama = 'Install Ollama (https://ollama.com/download), then: ollama pull llama3.2'
const freePort =
  'Stop the program that has Ollama’s port, or start the gateway with: npm start -- --ollama URL'

interface Seeker {
  readonly now: { readonly state: EngineState }
  look(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

interface FoundChat {
  readonly state: EngineState
  readonly engine: ChatEngine
  readonly upstream: Upstream | undefined
}

function ollamaSeeker(url: string): Seeker & { readonly now: FoundChat } {
  const ollama = createOllama(url)
  const missing = (problem: string, remedy = installOllama): FoundChat => ({
    engine: demoChat,
    upstream: undefined,
    state: { kind: 'demo', ready: true, models: [], problem, remedy },
  })
  let now = missing('No Ollama answers.')
  const slow = patience()
  return {
    get now() {
      return now
    },
    async look(signal) {
      try {
        const models = await ollama.probe(signal)
        const empty = { ready: false, problem: 'Ollama has no model yet.', remedy: 'ollama pull llama3.2' }
        now = {
          engine: models.length > 0 ? ollama : demoChat,
          upstream: ollama,
          state: { kind: 'ollama', models, ...(models.length > 0 ? { ready: true } : empty) },
        }
        slow.answered()
      } catch (error) {
        if (slow.bears(error)) return
        if (!(error instanceof Failure)) now = missing('No Ollama answers.')
        else now = missing(error.message, error.code === 'bad_upstream' ? freePort : installOllama)
      }
    },
    close: () => ollama.close(),
  }
}

function whisperSeeker(
  url: string | undefined,
): Seeker & { readonly now: { state: EngineState; engine: Transcriber } } {
  let found: Whisper | undefined
  const missing = (problem: string) => ({
    engine: demoTranscriber,
    state: {
      kind: 'demo' as const,
      ready: true,
      models: [],
      problem,
      remedy:
        "Start whisper.cpp's whisper-server, then the gateway with: npm start -- --whisper http://127.0.0.1:8080",
    },
  })
  let now: { state: EngineState; engine: Transcriber } = missing('No Whisper is configured.')
  const slow = patience()
  return {
    get now() {
      return now
    },
    async look(signal) {
      if (url === undefined) return
      try {
        if (found) await found.probe(signal)
        else found = await findWhisper(url, signal)
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
    close: async () => found?.close(),
  }
}

/** A machine at full load answers late, or that it is busy: an engine is gone after three such answers. */
function patience() {
  let late = Infinity
  return {
    answered() {
      late = 0
    },
    bears(error: unknown): boolean {
      const busy = error instanceof Failure && error.code === 'unavailable'
      late += busy || (error instanceof Error && error.name === 'TimeoutError') ? 1 : Infinity
      return late < 3
    },
  }
}

async function sleeps(ms: number, signal: AbortSignal): Promise<boolean> {
  return pause(ms, true, { signal, ref: false }).catch(() => false)
}
