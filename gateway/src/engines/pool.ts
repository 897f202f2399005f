/**
 * Several backends as one: which of them have a model, which has it loaded or the conversation's cache, and
 * whose turn it is there.
 */
import { Failure } from '../failure.ts'
import type { Backend, Model } from './backend.ts'

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
  readonly status: 'up' | 'down'
  readonly models: readonly string[]
  readonly loaded: readonly string[]
  readonly running: number
  readonly waiting: number
}

export interface ModelPool {
  /** Every model of every backend that answers, once, as it was written there; aliases too. */
  readonly models: readonly Model[]
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
  const up = () => backends.filter(({ state }) => state.status === 'up')
  const holders = (model: string) => up().filter((one) => one.models.some(({ name }) => name === model))
  const resolve = (said: string): string | undefined => {
    const model = aliases[said] ?? aliases[said.replace(/:latest$/, '')] ?? said
    for (const { models } of up())
      for (const { name } of models) if (name === model || name === `${model}:latest`) return name
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
    get backends() {
      return backends.map(({ name, kind, state, models, loaded, queue }) => ({
        name,
        kind,
        status: state.status,
        models: state.status === 'up' ? models.map((model) => model.name) : [],
        loaded: state.status === 'up' ? [...loaded] : [],
        running: queue.running,
        waiting: queue.waiting,
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
