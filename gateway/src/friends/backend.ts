/** A friend's gateway as a backend of the pool: always in it, up while it tells what it shares. */
import { Dispatcher } from 'undici'
import type { Backend, BackendState, Model } from '#engines/backend.ts'
import { parseJson } from '#engines/json.ts'
import { lines } from '#engines/lines.ts'
import { createFairQueue } from '#engines/queue.ts'
import type { ModelDetails } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import { mostAtOnce } from './protocol.ts'
import { renameAnswer, renameRequest, type Rename } from './rename.ts'
import { maxLineBytes, shared, sharedPath } from './shared.ts'
import { away, awayText, wordingOf } from './wording.ts'

export interface FriendBackend extends Backend {
  readonly friend: string
  /** Reads what is shared through a tunnel, until that ends; then it is away. Never throws. */
  follow(tunnel: Dispatcher): Promise<void>
}

/** @param changed called after each change of what it shares */
export function createFriendBackend(friend: string, changed: () => void): FriendBackend {
  let tunnel: Dispatcher | undefined
  let models: readonly Model[] = []
  let details: ReadonlyMap<string, ModelDetails> = new Map()
  let up = false
  const upstream = new RenamingDispatcher(friend, () => tunnel)
  const gone = { status: 'down', failure: new Failure('unavailable', awayText(friend)) } as const
  const take = (line: string): void => {
    const read = shared.parse(parseJson(line))
    const named = (name: string): string => `${name}@${friend}`
    models = read.models.map((model) => ({ ...model, name: named(model.name), model: named(model.name) }))
    details = new Map(Object.entries(read.details).map(([name, one]) => [named(name), one]))
    up = true
    changed()
  }
  return {
    name: `@${friend}`,
    friend,
    url: '',
    // As what speaks all dialects; what an engine behind it does not speak, its gateway refuses.
    kind: 'ollama',
    // Its own queue is the one that is fair.
    parallel: mostAtOnce,
    base: '',
    version: '',
    upstream,
    wording: wordingOf(friend),
    queue: createFairQueue(mostAtOnce),
    get state(): BackendState {
      return up ? { status: 'up' } : gone
    },
    get models() {
      return models
    },
    detailsOf: ({ name }) => details.get(name),
    thoughtOf: () => undefined,
    loaded: new Set(),
    // Its tunnel says so by itself, and soon.
    failed() {},
    async follow(through) {
      tunnel = through
      try {
        const { body } = await through.request({ method: 'GET', path: sharedPath })
        for await (const line of lines(body, maxLineBytes)) take(line)
      } catch {
        // Away, or it says what is no list: both times there is nothing that could be asked for.
      } finally {
        // A newer tunnel may have its place.
        if (tunnel === through) {
          tunnel = undefined
          up = false
          changed()
        }
      }
    },
    async close() {
      tunnel = undefined
      up = false
    },
  }
}

/** Takes the friend's name from what is asked, and puts it to what is answered. */
class RenamingDispatcher extends Dispatcher {
  readonly #friend: string
  readonly #tunnel: () => Dispatcher | undefined

  constructor(friend: string, tunnel: () => Dispatcher | undefined) {
    super()
    this.#friend = friend
    this.#tunnel = tunnel
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const tunnel = this.#tunnel()
    if (!tunnel) throw away(this.#friend)
    const { body } = options
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const asked = bytes instanceof Buffer ? renameRequest(this.#friend, bytes) : body
    return tunnel.dispatch({ ...options, body: asked ?? null }, renaming(this.#friend, handler))
  }

  /** The tunnel is not its own. */
  override async close(): Promise<void> {}
  override async destroy(): Promise<void> {}
}

/** By which the dialects answer. */
const answers: ReadonlySet<string> = new Set([
  'application/json',
  'application/x-ndjson',
  'text/event-stream',
])

function renaming(friend: string, handler: Dispatcher.DispatchHandler): Dispatcher.DispatchHandler {
  let rename: Rename = (chunk) => chunk
  return {
    onRequestStart: (controller, context) => handler.onRequestStart?.(controller, context),
    onResponseStart(controller, status, headers, message) {
      const type = String(headers['content-type'] ?? '').split(';', 1)[0] ?? ''
      // No page, and nothing else that a browser would act upon.
      if (status < 300 && !answers.has(type))
        return controller.abort(new Failure('bad_upstream', `${friend}’s gateway sent what is no answer.`))
      rename = renameAnswer(friend, type)
      // No length: names are longer here than there.
      const kept = { ...headers, 'content-type': type, 'content-length': undefined }
      handler.onResponseStart?.(controller, status, kept, message)
    },
    onResponseData: (controller, chunk) => handler.onResponseData?.(controller, rename(chunk)),
    onResponseEnd: (controller, trailers) => handler.onResponseEnd?.(controller, trailers),
    onResponseError: (controller, error) => handler.onResponseError?.(controller, error),
  }
}
