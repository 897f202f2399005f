/** How likely each 32 ms of sound are speech, for all microphones at once. The model itself is in `silero.ts`. */
import { Worker } from 'node:worker_threads'

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

/** Samples of a frame at 16 kHz, PCM as -1 to 1. */
export const frameSamples = 512
/** A millisecond of the model's time. */
const mostAtOnce = 32

/** What the worker is asked, and what it answers, in order; first of all that it is ready. */
export type Asked =
  | { readonly listeners: readonly number[]; readonly samples: Float32Array }
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
  let waiting: Waiting[] = []
  let asked: readonly Waiting[] = []
  /** One that ended is started anew with the next microphone. */
  let worker: Worker | undefined
  let last = 0

  const next = (): void => {
    if (!worker || asked.length > 0 || waiting.length === 0) return
    asked = waiting.splice(0, mostAtOnce)
    const samples = new Float32Array(asked.length * frameSamples)
    for (const [index, { frame }] of asked.entries()) samples.set(frame, index * frameSamples)
    const message: Asked = { listeners: asked.map(({ listener }) => listener), samples }
    worker.postMessage(message, [samples.buffer])
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
    const made = new Worker(new URL('silero.ts', import.meta.url))
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
  await start()
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
