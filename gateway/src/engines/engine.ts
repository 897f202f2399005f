/** The engines, as the rest of the gateway sees them: who answers, who listens, and how they are. */
import type { EngineStates } from '#protocol/events.ts'
import type { ModelPool } from './pool.ts'

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

export interface ChatWish {
  /** A name from {@link EngineStates}; null takes the engine's first. */
  readonly model: string | null
  readonly messages: readonly ChatMessage[]
  /** The most tokens that the answer may have. */
  readonly output?: number
  /** Whose turn it is, where several wait. */
  readonly tenant?: string
  readonly caller?: string
  /** Called once, when the engine said what it took. */
  onUsage?(usage: { readonly input: number; readonly output: number }): void
}

export interface ChatEngine {
  readonly kind: 'ollama' | 'demo'
  /**
   * The answer, piece by piece. MUST end the upstream request at once when `signal` is aborted, and MUST
   * throw a `Failure` when the stream ends before its time: a cut answer is never a quiet success.
   */
  chat(wish: ChatWish, signal: AbortSignal): AsyncIterable<string>
  /** Loads the model, so that the first answer need not wait for it. Never throws. */
  warm(model: string | null): Promise<void>
}

export interface TranscriptionWish {
  /** ISO 639-1; left out, the engine finds it. */
  readonly language?: string
  readonly prompt?: string
  readonly temperature?: string
  /** `json`, `text`, `srt`, `verbose_json` or `vtt` */
  readonly format?: string
  /** Into English. */
  readonly translate?: boolean
  /** Whose turn it is, where several wait. */
  readonly tenant?: string
  readonly caller?: string
}

/** How a recording is to be heard. */
export interface Hearing {
  /** ISO 639-1; left out, the engine finds it. */
  readonly language?: string
  /** Words that are likely in it, such as names. */
  readonly prompt?: string
  /** Whose turn it is, where several wait. */
  readonly tenant?: string
  readonly caller?: string
  /**
   * A `partial` shows what was understood so far. It never waits, and makes way for the first final: both
   * times it fails as `busy`. Left out, it is a final.
   */
  readonly urgency?: 'final' | 'partial'
}

export interface Transcriber {
  readonly kind: 'whisper.cpp' | 'openai' | 'asr-webservice' | 'wyoming' | 'sherpa' | 'demo'
  /**
   * Words heard in PCM16 mono 16 kHz, trimmed; empty where nothing was said. Throws `Failure`. MUST end the
   * upstream's work at once when `signal` is aborted, where the upstream can be told.
   */
  transcribe(samples: Int16Array, signal: AbortSignal, hearing?: Hearing): Promise<string>
  /**
   * What it makes of a whole file, in the form that was asked for. Throws `Failure`, `invalid` for a form or
   * a kind of file that the engine does not know.
   */
  transcribeFile(
    file: Blob,
    wish: TranscriptionWish,
    signal: AbortSignal,
  ): Promise<{ readonly contentType: string; readonly text: string }>
}

/** The engines at hand right now; each call may give another one, as they come and go. */
export interface Engines {
  readonly chat: ChatEngine
  readonly transcriber: Transcriber
  readonly states: EngineStates
  /** Where `/api/*` and `/v1/*` go; empty while there is only the demo. */
  readonly pool: ModelPool
  /** Called after each change of `states`. Returns what ends the subscription. */
  onChange(listener: (states: EngineStates) => void): () => void
  close(): Promise<void>
}
