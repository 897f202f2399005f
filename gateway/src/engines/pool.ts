/**
 * Several backends as one: which of them have a model, which has it loaded or the conversation's cache, and
 * whose turn it is there.
 */
import type { ModelDetails } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import type { Backend, Model } from './backend.ts'
import { fullName } from '#protocol/model-name.ts'

export interface PlaceWish {
  /** As `resolve` gave it. */
  readonly model: string
  /** What the backend's kind must be able to speak; left out, any. */
  readonly kind?: Backend['kind']
  /** The same for all requests of one conversation: its cache is where its last one was. */
  readonly conversation?: string | undefined
  readonly tenant: string
  readonly caller: string
  readonly signal: AbortSignal
  /** See the queue's `Turn`. */
  onWait?(position: number): void
  /** Those that were tried already. */
  readonly without?: ReadonlySet<Backend>
}

export interface Place {
  readonly backend: Backend
  /** Ends the turn; MUST be called once the answer is over. */
  leave(): void
}

export interface BackendView {
  readonly name: string
  readonly kind: Backend['kind']
  /** Whose gateway it is; undefined for one of the house. */
  readonly friend: string | undefined
  readonly status: 'up' | 'down'
  /** What is wrong, for people; undefined where it answers. */
  readonly problem: string | undefined
  readonly models: readonly string[]
  readonly loaded: readonly string[]
  readonly running: number
  readonly waiting: number
  /** How many it answers at once. */
  readonly parallel: number
}

export interface ModelPool {
  /** Every model of every backend that answers, once, as it was written there; aliases too. */
  readonly models: readonly Model[]
  /** By model name, of those whose backend tells. */
  readonly details: Readonly<Record<string, ModelDetails>>
  readonly backends: readonly BackendView[]
  /** Of the first Ollama that answers. */
  readonly version: string | undefined
  /** The name that a backend knows for one that a client says; undefined where none has it. */
  resolve(model: string): string | undefined
  /** Waits for a place. Throws a `Failure`: `not_found`, `unavailable`, `busy`. */
  place(wish: PlaceWish): Promise<Place>
}

/** Conversations whose backend is remembered. */
const rememberedConversations = 10_000

/** @param aliases names that clients may say, with the models that they mean */
export function createModelPool(
  backends: readonly Backend[],
  aliases: Readonly<Record<string, string>> = {},
): ModelPool {
  const caches = new Map<string, Backend>()
  // An object would know what `constructor` means.
  const meanings = new Map(Object.entries(aliases))
  const up = () => backends.filter(({ state }) => state.status === 'up')
  const holders = (model: string) => up().filter((one) => one.models.some(({ name }) => name === model))
  const resolve = (said: string): string | undefined => {
    const meant = meanings.get(said) ?? meanings.get(said.replace(/:latest$/, ''))
    const model = meant ?? said
    for (const { models, friend } of up()) {
      // What leaves the house is asked for by its own name.
      if (meant !== undefined && friend !== undefined) continue
      for (const { name } of models) if (name === model || name === fullName(model)) return name
    }
    return undefined
  }
  const remember = (conversation: string, backend: Backend): void => {
    caches.delete(conversation)
    caches.set(conversation, backend)
    if (caches.size <= rememberedConversations) return
    for (const oldest of caches.keys()) {
      caches.delete(oldest)
      return
    }
  }
  return {
    get models() {
      const found = new Map<string, Model>()
      for (const { models } of up())
        for (const model of models) if (!found.has(model.name)) found.set(model.name, model)
      for (const alias of Object.keys(aliases)) {
        const meant = found.get(resolve(alias) ?? '')
        if (meant && !found.has(alias)) found.set(alias, { ...meant, name: alias, model: alias })
      }
      return [...found.values()]
    },
    get details() {
      const found = new Map<string, ModelDetails>()
      for (const backend of up())
        for (const model of backend.models) {
          const details = backend.detailsOf(model)
          if (details && !found.has(model.name)) found.set(model.name, details)
        }
      for (const alias of Object.keys(aliases)) {
        const details = found.get(resolve(alias) ?? '')
        if (details && !found.has(alias)) found.set(alias, details)
      }
      return Object.fromEntries(found)
    },
    get backends() {
      return backends.map(({ name, kind, friend, state, models, loaded, queue, parallel }) => ({
        name,
        kind,
        friend,
        status: state.status,
        problem: state.status === 'up' ? undefined : (state.failure?.message ?? 'It does not answer.'),
        models: state.status === 'up' ? models.map((model) => model.name) : [],
        loaded: state.status === 'up' ? [...loaded] : [],
        running: queue.running,
        waiting: queue.waiting,
        parallel,
      }))
    },
    get version() {
      return up().find(({ kind }) => kind === 'ollama')?.version
    },
    resolve,
    async place(wish) {
      const able = holders(wish.model).filter((one) => wish.kind === undefined || one.kind === wish.kind)
      const left = able.filter((one) => !wish.without?.has(one))
      const backend = choose(left, wish, caches)
      if (!backend)
        throw able.length > 0 || backends.some(({ state }) => state.status === 'down')
          ? new Failure('unavailable', 'No engine that has this model answers now.', undefined, {
              retryAfter: 5,
            })
          : new Failure('not_found', `model: '${wish.model.slice(0, 256)}' can’t be asked in this API.`)
      const leave = await backend.queue.enter(wish)
      if (wish.conversation !== undefined) remember(wish.conversation, backend)
      return { backend, leave }
    },
  }
}

/** The cache of a conversation is worth a short wait; then what is loaded; then the shortest line. */
function choose(
  backends: readonly Backend[],
  { conversation, model }: PlaceWish,
  caches: ReadonlyMap<string, Backend>,
): Backend | undefined {
  const [first] = backends
  if (backends.length < 2) return first
  const cached = conversation === undefined ? undefined : caches.get(conversation)
  if (cached && backends.includes(cached) && cached.queue.waiting === 0) return cached
  const cost = ({ loaded, queue, parallel }: Backend): number =>
    (queue.running + queue.waiting) / parallel + (loaded.has(model) ? 0 : 1)
  return backends.reduce((best, one) => (cost(one) < cost(best) ? one : best))
}
