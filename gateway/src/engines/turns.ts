/**
 * Whose recording is heard next. One place for all engines: finals wait for each other, in turn of tenants and
 * callers; a partial takes what would lie idle, and gives it back to the first final.
 */
import { Failure } from '../failure.ts'
import type { Transcriber } from './engine.ts'
import { createFairQueue } from './queue.ts'

interface Who {
  readonly tenant?: string
  readonly caller?: string
}

/** Between two partials, ms: finals shall find an engine free, and connections open, however many talk. */
const restMs = 100

/** @param parallel how many the engine hears at once; most have one lock around all they do */
export function inTurn<T extends Transcriber>(engine: T, parallel = 1): T {
  const queue = createFairQueue(parallel)
  /** Those that run: whoever has one here makes way. */
  const partials = new Set<AbortController>()
  /** Ten a second are all that anybody needs of them. */
  let restsUntil = 0
  const isIdle = (): boolean => queue.running + queue.waiting === 0 && performance.now() >= restsUntil
  const hear = async <R>(who: Who, signal: AbortSignal, work: () => Promise<R>): Promise<R> => {
    signal.throwIfAborted()
    const { tenant = '', caller = '' } = who
    const leave = await queue.enter({ tenant, caller, signal })
    try {
      return await work()
    } finally {
      leave()
    }
  }
  const final = <R>(who: Who, signal: AbortSignal, work: () => Promise<R>): Promise<R> => {
    for (const partial of partials) partial.abort()
    return hear(who, signal, work)
  }
  const partial = async (who: Who, signal: AbortSignal, work: (signal: AbortSignal) => Promise<string>) => {
    if (!isIdle()) throw busy()
    const way = new AbortController()
    partials.add(way)
    try {
      return await hear(who, signal, () => work(AbortSignal.any([signal, way.signal])))
    } catch (error) {
      throw way.signal.aborted && !signal.aborted ? busy() : error
    } finally {
      partials.delete(way)
      restsUntil = performance.now() + restMs
    }
  }
  return {
    ...engine,
    get idle() {
      return isIdle()
    },
    transcribe: (samples, signal, hearing = {}) =>
      hearing.urgency === 'partial'
        ? partial(hearing, signal, (either) => engine.transcribe(samples, either, hearing))
        : final(hearing, signal, () => engine.transcribe(samples, signal, hearing)),
    transcribeFile: (file, wish, signal) =>
      final(wish, signal, () => engine.transcribeFile(file, wish, signal)),
  }
}

function busy(): Failure {
  return new Failure('busy', 'Whole recordings are heard first: there is nothing in between now.')
}
