/** Looks for a Whisper, again and again: what is there now, or why there is none. */
import type { EngineState } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import { demoTranscriber } from './demo.ts'
import type { Transcriber } from './engine.ts'
import { inTurn } from './turns.ts'
import { createPatience } from './watch.ts'
import type { Whisper } from './whisper.ts'

export interface WhisperSeeker {
  /** The demo's kind where there is none. */
  readonly now: { readonly state: EngineState; readonly engine: Transcriber }
  look(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

export interface WhisperFinder {
  /** Throws a `Failure` where there is nothing, or not yet. */
  find(signal: AbortSignal): Promise<Whisper>
  close(): Promise<void>
}

export function whisperSeeker(finder: WhisperFinder, remedy: string, parallel = 1): WhisperSeeker {
  let found: Whisper | undefined
  const missing = (problem: string) => ({
    engine: demoTranscriber,
    state: { kind: 'demo' as const, ready: true, models: [], problem, remedy },
  })
  let now: { state: EngineState; engine: Transcriber } = missing('No Whisper is configured.')
  const slow = createPatience('unavailable')
  return {
    get now() {
      return now
    },
    async look(signal) {
      try {
        if (found) await found.probe(signal)
        else found = inTurn(await finder.find(signal), parallel)
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
    async close() {
      await found?.close()
      await finder.close()
    },
  }
}
