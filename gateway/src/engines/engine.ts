/** The engines, as the rest of the gateway sees them: who answers, who listens, and how they are. */
import type { ServerResponse } from 'node:http'
import type { EngineStates } from '#protocol/events.ts'

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

export interface ChatWish {
  /** A name from {@link EngineStates}; null takes the engine's first. */
  readonly model: string | null
  readonly messages: readonly ChatMessage[]
}

/** A request in an upstream's own dialect, passed through as it is. */
export interface ForwardWish {
  readonly method: 'GET' | 'POST'
  /** Exact path from the allow-list, without a query. */
  readonly path: string
  readonly body?: Buffer
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

export interface Transcriber {
  readonly kind: 'whisper.cpp' | 'openai' | 'demo'
  /** Words heard in PCM16 mono 16 kHz, trimmed; empty where nothing was said. Throws `Failure`. */
  transcribe(samples: Int16Array, signal: AbortSignal): Promise<string>
}

/** The engines at hand right now; each call may give another one, as they come and go. */
export interface Engines {
  readonly chat: ChatEngine
  readonly transcriber: Transcriber
  readonly states: EngineStates
  /** Where `/api/*` and `/v1/*` go: Ollama's own bytes, or undefined while there is only the demo. */
  readonly upstream: Upstream | undefined
  /** Called after each change of `states`. Returns what ends the subscription. */
  onChange(listener: (states: EngineStates) => void): () => void
  close(): Promise<void>
}

export interface Upstream {
  readonly version: string
  /** Entries of `/api/tags` for the local models, as the upstream wrote them. */
  readonly models: readonly { readonly name: string }[]
  /**
   * Streams the upstream's answer into `response`, status and content type included, with no buffering.
   * Ends the upstream request within 50 ms when the client leaves. Resolves when the response has ended.
   * Throws `Failure` only while nothing was written; after that a broken stream is told in the dialect's way.
   */
  forward(wish: ForwardWish, response: ServerResponse): Promise<void>
}
