/**
 * The JSON events of `/v1/realtime`, by the names of OpenAI's Realtime API (GA), as far as we speak
 * them today, and our own `x.` events, which only `realtime.sotto.v1` sees.
 * Source: `resources/realtime/realtime.d.ts` of the `openai` package, 7.55.0.
 *
 * The server checks what a client sends with {@link clientEvent}; the web app takes the types alone.
 */
import { z } from 'zod'

const eventId = z.string().max(512).optional()

const inputMessage = z.object({
  id: z.string().max(64).optional(),
  type: z.literal('message'),
  role: z.literal('user'),
  content: z.array(z.object({ type: z.literal('input_text'), text: z.string().min(1).max(100_000) })).min(1),
})

/** What a client may send as text. Binary frames are in `frame.ts`. */
export const clientEvent = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('session.update'),
    event_id: eventId,
    session: z.object({
      type: z.literal('realtime').optional(),
      model: z.string().min(1).max(256).optional(),
      instructions: z.string().max(32_000).optional(),
    }),
  }),
  z.object({ type: z.literal('input_audio_buffer.commit'), event_id: eventId }),
  z.object({ type: z.literal('input_audio_buffer.clear'), event_id: eventId }),
  z.object({ type: z.literal('conversation.item.create'), event_id: eventId, item: inputMessage }),
  z.object({ type: z.literal('response.create'), event_id: eventId }),
  z.object({ type: z.literal('response.cancel'), event_id: eventId, response_id: z.string().optional() }),
])

export type ClientEvent = z.infer<typeof clientEvent>

/** A message of the conversation, the person's or the assistant's. */
export interface Item {
  readonly id: string
  readonly type: 'message'
  readonly role: 'user' | 'assistant'
  readonly status: 'in_progress' | 'completed' | 'incomplete'
  readonly content: readonly Content[]
}

export type Content =
  | { readonly type: 'input_text'; readonly text: string }
  | { readonly type: 'input_audio'; readonly transcript: string | null }
  | { readonly type: 'output_text'; readonly text: string }

/** One answer. `response.done` closes it exactly once, whatever its end was. */
export interface Response {
  readonly id: string
  readonly object: 'realtime.response'
  readonly status: 'in_progress' | 'completed' | 'cancelled' | 'failed' | 'incomplete'
  readonly status_details: null | {
    readonly type: 'cancelled' | 'failed' | 'incomplete'
    readonly reason?: 'client_cancelled' | 'max_output_tokens' | 'empty_input'
    readonly error?: { readonly code: string; readonly message: string }
  }
  readonly output: readonly Item[]
}

/** The session as the server holds it. */
export interface Session {
  readonly id: string
  readonly type: 'realtime'
  /** The chat model that answers; null where no engine has one. */
  readonly model: string | null
  readonly instructions: string
  readonly output_modalities: readonly ['text']
  /** Ours: who the gateway takes the caller for. */
  readonly x_caller: { readonly kind: 'device' | 'host'; readonly name: string }
}

/** What the page needs to know of an engine. */
export interface EngineState {
  /** `demo` where nothing real was found: its answers are labelled as such. */
  readonly kind: 'ollama' | 'whisper.cpp' | 'openai' | 'asr-webservice' | 'wyoming' | 'sherpa' | 'demo'
  readonly ready: boolean
  /** Model names that a caller may ask for. */
  readonly models: readonly string[]
  /** For people: what is wrong, when something is. No upstream address in it. */
  readonly problem?: string
  /** For people: the command or step that gives the real engine. */
  readonly remedy?: string
}

export interface EngineStates {
  readonly chat: EngineState
  readonly transcription: EngineState
}

interface Place {
  readonly response_id: string
  readonly item_id: string
  readonly output_index: 0
  readonly content_index: 0
}

interface Bodies {
  'session.created': { session: Session }
  'session.updated': { session: Session }
  error: {
    error: {
      type: 'invalid_request_error' | 'server_error'
      code: string
      message: string
      param?: string
      /** The client's event that was refused, when it gave an id. */
      event_id?: string
    }
  }
  'input_audio_buffer.committed': { item_id: string; previous_item_id: string | null }
  'input_audio_buffer.cleared': object
  'conversation.item.added': { item: Item; previous_item_id: string | null }
  'conversation.item.done': { item: Item; previous_item_id: string | null }
  'conversation.item.input_audio_transcription.completed': {
    item_id: string
    content_index: 0
    transcript: string
    usage: { type: 'duration'; seconds: number }
  }
  'conversation.item.input_audio_transcription.failed': {
    item_id: string
    content_index: 0
    error: { code: string; message: string }
  }
  'response.created': { response: Response }
  'response.output_item.added': { response_id: string; output_index: 0; item: Item }
  'response.content_part.added': Place & { part: { type: 'text'; text: '' } }
  'response.output_text.delta': Place & { delta: string }
  'response.output_text.done': Place & { text: string }
  'response.content_part.done': Place & { part: { type: 'text'; text: string } }
  'response.output_item.done': { response_id: string; output_index: 0; item: Item }
  'response.done': { response: Response }
  'x.engines': { engines: EngineStates }
}

export type ServerEventBody = { [T in keyof Bodies]: { readonly type: T } & Bodies[T] }[keyof Bodies]

/** What the server sends: every event has an id, since stock clients drop those that have none. */
export type ServerEvent = ServerEventBody & { readonly event_id: string }
