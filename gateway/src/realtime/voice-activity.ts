/**
 * How likely each 32 ms of sound are speech: of the first microphones at once, on the main thread, since the way to
 * another one and back takes longer than the model does; of further ones together on a thread of their own.
 */
import { Worker } from 'node:worker_threads'
import { frameSamples, loadSilero, newMemory } from './silero.ts'

export { frameSamples } from './silero.ts'

export interface VoiceActivity {
  /** A listener of its own for each microphone. */
  open(): Listener
  close(): Promise<void>
}

export interface Listener {
  /** How likely these samples are speech, 0 to 1. One call at a time. */
  hear(frame: Float32Array): Promise<number>
  /** Forgets what was heard. */
  close(): void
}

/** As many as a household has; each takes the main thread a hundredth of a core. */
const mostOnMain = 4
/** A millisecond of the model's time. */
const mostAtOnce = 32

/**
 * What the worker is asked, and what it answers, in order; first of all that it is ready. The frames of listeners,
 * one after another, are in memory that both have: it is the worker's until it has answered.
 */
export type Asked =
  | { readonly listeners: readonly number[] }
  | { readonly forget: number }
  | { readonly end: true }
export type Heard = 'ready' | { readonly speech: Float32Array } | { readonly error: string }

interface Waiting {
  readonly listener: number
  readonly frame: Float32Array
  settle(speech: number): void
  fail(error: unknown): void
}

/** Resolves when the model is loaded. */
export async function loadVoiceActivity(): Promise<VoiceActivity> {
  const silero = await loadSilero()
  const crowd = createCrowd()
  let onMain = 0
  return {
    open() {
      if (onMain >= mostOnMain) return crowd.open()
      onMain += 1
      const memories = [newMemory()]
      let closed = false
      return {
        hear: async (frame) => (await silero.hear(memories, frame))[0] ?? 0,
        close() {
          if (!closed) onMain -= 1
          closed = true
        },
      }
    },
    async close() {
      await crowd.close()
      await silero.close()
    },
  }
}

/** Those whom a thread of its own listens to; it is begun with the first of them. */
function createCrowd(): VoiceActivity {
  let waiting: Waiting[] = []
  let asked: readonly Waiting[] = []
  /** One that ended is started anew with the next microphone. */
  let worker: Worker | undefined
  let last = 0
  const frames = new Float32Array(
    new SharedArrayBuffer(mostAtOnce * frameSamples * Float32Array.BYTES_PER_ELEMENT),
  )

  const next = (): void => {
    if (!worker || asked.length > 0 || waiting.length === 0) return
    asked = waiting.splice(0, mostAtOnce)
    for (const [index, { frame }] of asked.entries()) frames.set(frame, index * frameSamples)
    worker.postMessage({ listeners: asked.map(({ listener }) => listener) } satisfies Asked)
  }
  const answered = (heard: Exclude<Heard, 'ready'>): void => {
    const of = asked
    asked = []
    next()
    for (const [index, one] of of.entries())
      if ('error' in heard) one.fail(new Error(heard.error))
      else one.settle(heard.speech[index] ?? 0)
  }
  const start = (): Promise<void> => {
    const made = new Worker(new URL('silero-worker.ts', import.meta.url), { workerData: frames })
    worker = made
    return new Promise((settle, fail) => {
      const gone = (error: Error): void => {
        if (worker === made) {
          worker = undefined
          const all = [...asked, ...waiting]
          asked = waiting = []
          for (const one of all) one.fail(error)
        }
        fail(error)
      }
      made.on('message', (heard: Heard) => (heard === 'ready' ? settle() : answered(heard)))
      made.on('error', (error) => gone(error instanceof Error ? error : new Error('Voice activity failed.')))
      made.once('exit', () => gone(new Error('Voice activity has ended.')))
    })
  }
  return {
    open() {
      // Whoever listens hears of its failure with their first frame.
      if (!worker) start().catch(() => {})
      last += 1
      const listener = last
      return {
        hear: (frame) =>
          new Promise((settle, fail) => {
            if (!worker) return fail(new Error('Voice activity has ended.'))
            waiting.push({ listener, frame, settle, fail })
            next()
          }),
        close() {
          waiting = waiting.filter((one) => one.listener !== listener)
          worker?.postMessage({ forget: listener } satisfies Asked)
        },
      }
    },
    async close() {
      const ending = worker
      if (!ending) return
      const ended = new Promise((settle) => ending.once('exit', settle))
      ending.postMessage({ end: true } satisfies Asked)
      await ended
    },
  }
}
