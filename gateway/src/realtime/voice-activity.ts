/** How likely each 32 ms of sound are speech, for all microphones at once. The model itself is in `silero.ts`. */
import { once } from 'node:events'
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

/** What the worker is asked, and what it answers, in order. */
export type Asked =
  | { readonly listeners: readonly number[]; readonly samples: Float32Array }
  | { readonly forget: number }
  | { readonly end: true }
export type Heard = { readonly speech: Float32Array } | { readonly error: string }

interface Waiting {
  readonly listener: number
  readonly frame: Float32Array
  settle(speech: number): void
  fail(error: unknown): void
}

/** Resolves when the model is loaded. */
export async function loadVoiceActivity(): Promise<VoiceActivity> {
  const worker = new Worker(new URL('silero.ts', import.meta.url))
  await once(worker, 'message')
  const waiting: Waiting[] = []
  let asked: readonly Waiting[] = []
  let gone: Error | undefined
  let last = 0
  const ask = (message: Asked, transfer: ArrayBuffer[] = []): void => worker.postMessage(message, transfer)

  const next = (): void => {
    if (asked.length > 0 || waiting.length === 0) return
    asked = waiting.splice(0, mostAtOnce)
    const samples = new Float32Array(asked.length * frameSamples)
    for (const [index, { frame }] of asked.entries()) samples.set(frame, index * frameSamples)
    ask({ listeners: asked.map(({ listener }) => listener), samples }, [samples.buffer])
  }
  const fail = (error: Error): void => {
    gone = error
    for (const one of [...asked, ...waiting.splice(0)]) one.fail(error)
    asked = []
  }
  worker.on('message', (heard: Heard) => {
    const answered = asked
    asked = []
    next()
    for (const [index, one] of answered.entries())
      if ('error' in heard) one.fail(new Error(heard.error))
      else one.settle(heard.speech[index] ?? 0)
  })
  worker.on('error', (error) => fail(error instanceof Error ? error : new Error('Voice activity failed.')))
  worker.once('exit', () => fail(new Error('Voice activity has ended.')))
  return {
    open() {
      last += 1
      const listener = last
      return {
        hear: (frame) =>
          new Promise((settle, no) => {
            if (gone) return no(gone)
            waiting.push({ listener, frame, settle, fail: no })
            next()
          }),
        close: () => ask({ forget: listener }),
      }
    },
    async close() {
      if (gone) return
      const ended = once(worker, 'exit')
      ask({ end: true })
      await ended
    },
  }
}
