/** One backend of the pool: what it has, what it has loaded, how it is; looked at again and again. */
import { Pool, type Dispatcher } from 'undici'
import { z } from 'zod'
import type { ModelDetails } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import type { Wording } from './forward.ts'
import { parseJson } from './json.ts'
import { createDetailsBook, type DetailsBook } from './model-details.ts'
import { createFairQueue, type FairQueue } from './queue.ts'
import { createPatience, lookEveryMs, probing, sleeps } from './watch.ts'
import { textOf } from './text-of.ts'

export interface BackendConfig {
  /** For people and records. */
  readonly name: string
  /** Origin, with or without a path before `/api` or `/v1`. */
  readonly url: string
  /** `ollama` speaks its native API and OpenAI's; `openai` OpenAI's alone (llama.cpp, vLLM, …). */
  readonly kind: 'ollama' | 'openai'
  /** How many requests it answers at once; the others wait for their turn here. */
  readonly parallel: number
}

export interface Model {
  readonly name: string
  readonly [field: string]: unknown
}

export type BackendState =
  /** Answers. */
  | { readonly status: 'up' }
  /** Does not answer, or something else does. */
  | { readonly status: 'down'; readonly failure: Failure | undefined }

export interface Backend extends BackendConfig {
  /** Whose gateway it is; left out, it is of the house. */
  readonly friend?: string
  /** How people are told what it did wrong; left out, as an engine's. */
  readonly wording?: Wording
  readonly upstream: Dispatcher
  /** In front of each path. */
  readonly base: string
  readonly queue: FairQueue
  readonly state: BackendState
  readonly version: string
  /** Those that run there, as it wrote them. */
  readonly models: readonly Model[]
  /** Undefined where it does not tell, or not yet. */
  detailsOf(model: Model): ModelDetails | undefined
  thoughtOf(model: Model, wanted: boolean): ReturnType<DetailsBook['thought']>
  /** Names of those in its memory now. */
  readonly loaded: ReadonlySet<string>
  /** A request could not reach it: it is looked at now, and not used until it answers. */
  failed(error: unknown): void
  close(): Promise<void>
}

/** A cold model of 70 GB takes minutes from a slow disk before its first byte. */
const firstByteMs = 15 * 60_000
/** Between two tokens, on a machine that swaps. */
const silenceMs = 5 * 60_000
/** For what a model is, of which a large one has megabytes to tell. */
const detailsTimeoutMs = 10_000
/** One that stays away is asked for less often, yet is back within seconds. */
const longestWaitMs = 5_000

const version = z.object({ version: z.string() })
const tags = z.object({
  // A list that was never made is null in Go's JSON.
  models: z.array(z.looseObject({ name: z.string(), remote_host: z.string().optional() })).nullable(),
})
const loadedModels = z.object({ models: z.array(z.object({ name: z.string() })).nullable() })
const openAiModels = z.object({ data: z.array(z.looseObject({ id: z.string() })) })

/**
 * Resolves after the first look.
 *
 * @param changed called after each look that found something else than the one before
 * @param through what leads to it where it can't be dialled: a tunnel
 */
export async function createBackend(
  config: BackendConfig,
  changed: () => void,
  everyMs: number = lookEveryMs,
  through?: Dispatcher,
): Promise<Backend> {
  const { origin, pathname } = new URL(config.url)
  const base = pathname.replace(/(?:\/v1)?\/?$/, '')
  const upstream =
    through ??
    new Pool(origin, {
      // Room for what the queue lets through, for looks and for loading.
      connections: config.parallel + 8,
      headersTimeout: firstByteMs,
      bodyTimeout: silenceMs,
      pipelining: 1,
    })
  const stop = new AbortController()
  const seen = {
    state: { status: 'down', failure: undefined } as BackendState,
    version: '',
    models: [] as readonly Model[],
    loaded: new Set<string>() as ReadonlySet<string>,
  }
  const details = createDetailsBook(async (model) => {
    const { statusCode, body } = await upstream.request({
      method: 'POST',
      path: `${base}/api/show`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model }),
      signal: AbortSignal.any([stop.signal, AbortSignal.timeout(detailsTimeoutMs)]),
    })
    const text = await textOf(body)
    return statusCode === 200 ? parseJson(text) : undefined
  }, changed)
  const patience = createPatience('busy')
  let misses = 0

  const look = async (): Promise<void> => {
    const before = JSON.stringify([seen.state.status, seen.models, [...seen.loaded]])
    try {
      const found = await probing(stop.signal, (signal) => probe({ ...config, upstream, base }, signal))
      Object.assign(seen, found, { state: { status: 'up' } })
      patience.answered()
      misses = 0
      if (config.kind === 'ollama') void details.learn(seen.models)
    } catch (error) {
      if (stop.signal.aborted) return
      misses += 1
      if (patience.bears(error)) return
      seen.state = { status: 'down', failure: error instanceof Failure ? error : undefined }
    }
    if (JSON.stringify([seen.state.status, seen.models, [...seen.loaded]]) !== before) changed()
  }
  await look()
  const watching = (async () => {
    while (
      await sleeps(
        Math.min(everyMs * 1.5 ** Math.min(misses, 9), Math.max(everyMs, longestWaitMs)),
        stop.signal,
      )
    )
      await look()
  })()
  return {
    ...config,
    upstream,
    base,
    queue: createFairQueue(config.parallel),
    get state() {
      return seen.state
    },
    get version() {
      return seen.version
    },
    get models() {
      return seen.models
    },
    detailsOf: details.of,
    thoughtOf: details.thought,
    get loaded() {
      return seen.loaded
    },
    failed() {
      patience.lose()
      void look()
    },
    async close() {
      stop.abort()
      await watching
      await upstream.destroy()
    },
  }
}

type Probed = Pick<Backend, 'version' | 'models' | 'loaded'>

async function probe(
  { kind, upstream, base }: Pick<Backend, 'kind' | 'upstream' | 'base'>,
  signal: AbortSignal,
): Promise<Probed> {
  const get = async (path: string): Promise<unknown> => {
    const { statusCode, body } = await upstream.request({ method: 'GET', path: base + path, signal })
    const text = await textOf(body)
    if (statusCode === 503) throw new Failure('busy', 'The engine is busy.')
    return statusCode === 200 ? parseJson(text) : undefined
  }
  if (kind === 'openai') {
    const listed = openAiModels.safeParse(await get('/v1/models'))
    if (!listed.success)
      throw new Failure('bad_upstream', 'What answers at a backend’s address has no /v1/models.')
    return {
      version: '',
      models: listed.data.data.map(({ id }) => ({ name: id })),
      loaded: new Set(listed.data.data.map(({ id }) => id)),
    }
  }
  const found = version.safeParse(await get('/api/version'))
  const listed = tags.safeParse(await get('/api/tags'))
  if (!found.success || !listed.success)
    throw new Failure('bad_upstream', 'What answers where Ollama should be is not Ollama.')
  const loaded = loadedModels.safeParse(await get('/api/ps'))
  return {
    version: found.data.version,
    models: (listed.data.models ?? []).filter(isLocal),
    loaded: new Set(loaded.success ? (loaded.data.models ?? []).map(({ name }) => name) : []),
  }
}

/**
 * Whether a model runs on this machine. A name with the suffix `cloud`, or an entry with a remote host, sends
 * its prompt to another's computer. Source: `internal/modelref` in ollama/ollama.
 */
export function isLocal({
  name,
  remote_host,
}: {
  readonly name: string
  readonly remote_host?: string | undefined
}): boolean {
  return !remote_host && !/[:-]cloud$/i.test(name.replaceAll(goSpace, ''))
}

/** What Go trims around a tag: JavaScript's `trim` knows neither U+0085 nor the space after the colon. */
const goSpace = /[\s\u0085]/g
