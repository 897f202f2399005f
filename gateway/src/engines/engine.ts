/** The engines, as the rest of the gateway sees them: who answers, who listens, and how they are. */
import type { Dispatcher } from 'undici'
import type { EngineStates } from '#protocol/events.ts'
import type { Backend, BackendConfig } from './backend.ts'
import type { ModelPool } from './pool.ts'

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly content: string
  /** Base64, without what a data: URL has before it. */
  readonly images?: readonly string[]
  /** What the assistant asked for, in its own words. */
  readonly calls?: readonly ToolCall[]
  /** Whose result a tool's message is. */
  readonly tool?: string
}

export interface ToolCall {
  readonly name: string
  /** A JSON object, as text. */
  readonly arguments: string
}

/** A function that the model may ask for. */
export interface ChatTool {
  readonly name: string
  readonly description?: string | undefined
  /** JSON Schema. */
  readonly parameters?: unknown
}

/** What the model thinks before it answers: shown, and never told to a model again. */
export interface Thought {
  readonly reasoning: string
}

/** A piece of an answer: words, a call of a function, or what was thought before. */
export type ChatPiece = string | ToolCall | Thought

export interface ChatWish {
  /** A name from {@link EngineStates}; null takes the engine's first. */
  readonly model: string | null
  readonly messages: readonly ChatMessage[]
  readonly tools?: readonly ChatTool[]
  /** The most tokens that the answer may have. */
  readonly output?: number
  /** Whether a model that can think does; left out, as the model has it. */
  readonly think?: boolean
  /** Whose turn it is, where several wait. */
  readonly tenant?: string
  readonly caller?: string
  /** Called once, when the engine said what it took; `cut`: the answer has as many tokens as it may. */
  onUsage?(usage: { readonly input: number; readonly output: number; readonly cut: boolean }): void
}

export interface ChatEngine {
  readonly kind: 'ollama' | 'demo'
  /**
   * The answer, piece by piece. MUST end the upstream request at once when `signal` is aborted, and MUST
   * throw a `Failure` when the stream ends before its time: a cut answer is never a quiet success.
   */
  chat(wish: ChatWish, signal: AbortSignal): AsyncIterable<ChatPiece>
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
  /** Who lends it; left out, it is the gateway's own. */
  readonly lender?: string
  /** False where a partial would be refused now. */
  readonly idle?: boolean
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

/** What answers `/api/*` and `/v1/*` right now; each call may give another one, as they come and go. */
export interface EngineView {
  readonly transcriber: Transcriber
  readonly states: EngineStates
  /** Where models are; empty while there is only the demo. */
  readonly pool: ModelPool
}

/** The engines at hand. */
export interface Engines extends EngineView {
  readonly chat: ChatEngine
  /** Takes up what a lender has. Resolves after the first look. */
  lend(lender: Lender): Promise<Lent>
  /**
   * Takes up a friend's gateway, whose models have its name behind their own. Returns what ends it.
   *
   * @param make is given what it MUST call after each change
   */
  befriend(make: (changed: () => void) => Backend): () => Promise<void>
  /** What is of the house alone, lenders among it: for friends, to whom no other friend's is passed on. */
  readonly own: EngineView
  /** Called after each change of `states`. Returns what ends the subscription. */
  onChange(listener: (states: EngineStates) => void): () => void
  close(): Promise<void>
}

/** A machine that lends what it has, through a tunnel. */
export interface Lender {
  readonly upstream: Dispatcher
  /** Undefined where it lends no models. */
  readonly ollama: BackendConfig | undefined
  /** For people and records. */
  readonly name: string
  /** URL of its Whisper, as `upstream` takes it. */
  readonly whisper: string | undefined
}

export interface Lent {
  /** What it has, and nothing else. */
  readonly engines: EngineView
  /** It is gone. */
  leave(): Promise<void>
}
