/**
 * The JSON events of `/v1/realtime`: OpenAI's Realtime API by its GA names, and our own `x.` events and `x_`
 * fields, which only who negotiated `realtime.sotto.v1` sees.
 * Source: `resources/realtime/realtime.d.ts` of the `openai` package, 7.55.0.
 *
 * The server checks what a client sends with {@link clientEvent}; the web app takes the types alone.
 */
import { z } from 'zod'
import type { ConversationSummary } from './conversations.ts'

const eventId = z.string().max(512).optional()
const text = z.string().max(100_000)
/** Room for a photograph; what the socket takes at all is bounded besides. */
const image = z
  .string()
  .max(12_000_000)
  .regex(/^data:image\/[\w.+-]+;base64,/, 'is a data: URL of an image, base64')

const inputContent = z.discriminatedUnion('type', [
  /** Ours: `x_name` is the file's name, where it is the text of one. */
  z.object({ type: z.literal('input_text'), text, x_name: z.string().max(255).exactOptional() }),
  z.object({ type: z.literal('input_audio'), audio: z.string().optional(), transcript: text.nullish() }),
  z.object({ type: z.literal('input_image'), image_url: image, detail: z.string().optional() }),
])
const outputContent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('output_text'), text }),
  z.object({ type: z.literal('output_audio'), audio: z.string().optional(), transcript: text.nullish() }),
])
const ownId = z.string().min(1).max(64).optional()
const message = {
  id: ownId,
  type: z.literal('message'),
  status: z.string().optional(),
  object: z.string().optional(),
}

/** What a client may put into the conversation. */
const newItem = z.union([
  z.object({ ...message, role: z.literal('system'), content: z.array(inputContent).min(1) }),
  z.object({ ...message, role: z.literal('user'), content: z.array(inputContent).min(1) }),
  z.object({ ...message, role: z.literal('assistant'), content: z.array(outputContent).min(1) }),
  z.object({
    id: ownId,
    type: z.literal('function_call'),
    call_id: z.string().max(256).optional(),
    name: z.string().min(1).max(256),
    arguments: text,
  }),
  z.object({
    id: ownId,
    type: z.literal('function_call_output'),
    call_id: z.string().min(1).max(256),
    output: text,
  }),
])

const format = z.union([
  z.object({ type: z.literal('audio/pcm'), rate: z.literal(24_000).default(24_000) }),
  z.object({ type: z.enum(['audio/pcmu', 'audio/pcma']) }),
  /** Ours: in binary frames, packets of 20 ms. */
  z.object({ type: z.literal('audio/opus') }),
])
const serverVad = z.object({
  type: z.literal('server_vad'),
  threshold: z.number().min(0).max(1).exactOptional(),
  prefix_padding_ms: z.int().min(0).max(5_000).exactOptional(),
  silence_duration_ms: z.int().min(100).max(10_000).exactOptional(),
  idle_timeout_ms: z.int().min(5_000).max(30_000).nullable().exactOptional(),
  create_response: z.boolean().exactOptional(),
  interrupt_response: z.boolean().exactOptional(),
})
const semanticVad = z.object({
  type: z.literal('semantic_vad'),
  eagerness: z.enum(['low', 'medium', 'high', 'auto']).exactOptional(),
  create_response: z.boolean().exactOptional(),
  interrupt_response: z.boolean().exactOptional(),
})
const tool = z.looseObject({
  type: z.literal('function'),
  name: z.string().min(1).max(256),
  description: z.string().max(10_000).exactOptional(),
  parameters: z.unknown(),
})
const toolChoice = z.union([
  z.enum(['auto', 'none', 'required']),
  z.object({ type: z.literal('function'), name: z.string() }),
])
const modalities = z
  .array(z.enum(['audio', 'text']))
  .length(1, 'is ["audio"] (which has its text) or ["text"], never both')
const maxOutputTokens = z.union([z.int().min(1).max(1_000_000), z.literal('inf')])
const instructions = z.string().max(32_000)
const voice = z.union([z.string().max(256), z.object({ id: z.string().max(256) }).transform(({ id }) => id)])

const audioInput = z.looseObject({
  format: format.exactOptional(),
  transcription: z
    .looseObject({
      model: z.string().max(256).exactOptional(),
      language: z
        .string()
        .regex(/^[a-z]{2,3}(-([a-z]{2}|\d{3}))?$/i, 'is ISO 639-1, for example "en"')
        .exactOptional(),
      prompt: z.string().max(4_000).exactOptional(),
    })
    .nullable()
    .exactOptional(),
  turn_detection: z.union([serverVad, semanticVad]).nullable().exactOptional(),
})
const audioOutput = z.looseObject({
  format: format.exactOptional(),
  voice: voice.exactOptional(),
  speed: z.number().min(0.25).max(1.5).exactOptional(),
})

/** What `session.update` may change; what it leaves out stays. Fields we do not act on are kept and told back. */
const sessionUpdate = z.looseObject({
  type: z.enum(['realtime', 'transcription']).exactOptional(),
  model: z.string().min(1).max(256).exactOptional(),
  instructions: instructions.exactOptional(),
  output_modalities: modalities.exactOptional(),
  max_output_tokens: maxOutputTokens.exactOptional(),
  tools: z.array(tool).max(128).exactOptional(),
  tool_choice: toolChoice.exactOptional(),
  /** Ours: whether a model that can think does so before it answers; null for as the model has it. */
  x_thinking: z.boolean().nullable().exactOptional(),
  audio: z
    .looseObject({ input: audioInput.exactOptional(), output: audioOutput.exactOptional() })
    .exactOptional(),
})

/** What one answer may have otherwise than the session. */
const responseWish = z.looseObject({
  conversation: z.enum(['auto', 'none']).exactOptional(),
  instructions: instructions.exactOptional(),
  output_modalities: modalities.exactOptional(),
  max_output_tokens: maxOutputTokens.exactOptional(),
  tools: z.array(tool).max(128).exactOptional(),
  tool_choice: toolChoice.exactOptional(),
  /** Ours, as of the session. */
  x_thinking: z.boolean().nullable().exactOptional(),
  input: z
    .array(z.union([newItem, z.object({ type: z.literal('item_reference'), id: z.string() })]))
    .max(1_000)
    .exactOptional(),
  metadata: z.record(z.string(), z.string()).nullable().exactOptional(),
  audio: z.looseObject({ output: audioOutput.exactOptional() }).exactOptional(),
})

const itemId = z.string().min(1).max(64)

/** What a client may send as text. Binary frames are in `frame.ts`. */
export const clientEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('session.update'), event_id: eventId, session: sessionUpdate }),
  z.object({ type: z.literal('input_audio_buffer.append'), event_id: eventId, audio: z.base64() }),
  z.object({ type: z.literal('input_audio_buffer.commit'), event_id: eventId }),
  z.object({ type: z.literal('input_audio_buffer.clear'), event_id: eventId }),
  z.object({
    type: z.literal('conversation.item.create'),
    event_id: eventId,
    previous_item_id: z.string().max(64).nullish(),
    item: newItem,
  }),
  z.object({ type: z.literal('conversation.item.retrieve'), event_id: eventId, item_id: itemId }),
  z.object({ type: z.literal('conversation.item.delete'), event_id: eventId, item_id: itemId }),
  z.object({
    type: z.literal('conversation.item.truncate'),
    event_id: eventId,
    item_id: itemId,
    content_index: z.int().min(0),
    audio_end_ms: z.number().min(0),
  }),
  z.object({ type: z.literal('response.create'), event_id: eventId, response: responseWish.optional() }),
  z.object({ type: z.literal('response.cancel'), event_id: eventId, response_id: z.string().optional() }),
  /** Ours: how much of an answer's sound has left the speaker, in milliseconds. */
  z.object({
    type: z.literal('x.playback'),
    event_id: eventId,
    item_id: itemId,
    played_ms: z.number().min(0),
  }),
  /** Ours: how many of the server's messages have come, so that it may forget them. Not counted itself. */
  z.object({ type: z.literal('x.ack'), event_id: eventId, received: z.int().min(0) }),
])

export type ClientEvent = z.infer<typeof clientEvent>
/** As a client writes it: what has a default may be left out. */
export type ClientEventInput = z.input<typeof clientEvent>
export type NewItem = z.infer<typeof newItem>
export type SessionUpdate = z.infer<typeof sessionUpdate>
export type ResponseWish = z.infer<typeof responseWish>
export type Tool = z.infer<typeof tool>
export type ToolChoice = z.infer<typeof toolChoice>

type ItemStatus = 'in_progress' | 'completed' | 'incomplete'

/** A message of the conversation. */
export interface MessageItem {
  readonly id: string
  readonly object: 'realtime.item'
  readonly type: 'message'
  readonly role: 'user' | 'assistant' | 'system'
  readonly status: ItemStatus
  readonly content: readonly Content[]
  /** Ours: what the model thought before it answered. Never told to a model again. */
  readonly x_reasoning?: string
}

/** What the model asks the client to do, and what came of it. */
export interface FunctionCallItem {
  readonly id: string
  readonly object: 'realtime.item'
  readonly type: 'function_call'
  readonly status: ItemStatus
  readonly call_id: string
  readonly name: string
  readonly arguments: string
}

export interface FunctionCallOutputItem {
  readonly id: string
  readonly object: 'realtime.item'
  readonly type: 'function_call_output'
  readonly status: ItemStatus
  readonly call_id: string
  readonly output: string
}

export type Item = MessageItem | FunctionCallItem | FunctionCallOutputItem

export type Content =
  | { readonly type: 'input_text'; readonly text: string; readonly x_name?: string }
  | { readonly type: 'input_audio'; readonly transcript: string | null }
  /** Without its picture in `conversation.item.added` and `.done`: who put it there has it. */
  | { readonly type: 'input_image'; readonly image_url?: string }
  | { readonly type: 'output_text'; readonly text: string }
  | { readonly type: 'output_audio'; readonly transcript: string }

/** One answer. `response.done` closes it exactly once, whatever its end was. */
export interface Response {
  readonly id: string
  readonly object: 'realtime.response'
  readonly conversation_id: string | null
  readonly status: 'in_progress' | 'completed' | 'cancelled' | 'failed' | 'incomplete'
  readonly status_details: null | {
    readonly type: 'cancelled' | 'failed' | 'incomplete'
    readonly reason?: 'turn_detected' | 'client_cancelled' | 'max_output_tokens' | 'empty_input'
    readonly error?: { readonly type: 'server_error'; readonly code: string; readonly message: string }
  }
  readonly output: readonly Item[]
  readonly output_modalities: readonly ('audio' | 'text')[]
  readonly metadata: Readonly<Record<string, string>> | null
  readonly usage: null | {
    readonly total_tokens: number
    readonly input_tokens: number
    readonly output_tokens: number
  }
}

type Format =
  | { readonly type: 'audio/pcm'; readonly rate: 24_000 }
  | { readonly type: 'audio/pcmu' | 'audio/pcma' | 'audio/opus' }

export type TurnDetection =
  | {
      readonly type: 'server_vad'
      readonly threshold: number
      readonly prefix_padding_ms: number
      readonly silence_duration_ms: number
      readonly idle_timeout_ms: number | null
      readonly create_response: boolean
      readonly interrupt_response: boolean
    }
  | {
      readonly type: 'semantic_vad'
      readonly eagerness: 'low' | 'medium' | 'high' | 'auto'
      readonly create_response: boolean
      readonly interrupt_response: boolean
    }

/** The session as the server holds it. */
export interface Session {
  readonly id: string
  readonly object: 'realtime.session'
  readonly type: 'realtime' | 'transcription'
  /** The chat model that answers; null where no engine has one. */
  readonly model: string | null
  readonly instructions: string
  readonly output_modalities: readonly ('audio' | 'text')[]
  readonly max_output_tokens: number | 'inf'
  readonly tools: readonly Tool[]
  readonly tool_choice: ToolChoice
  readonly audio: {
    readonly input: {
      readonly format: Format
      readonly transcription: null | {
        readonly model?: string | undefined
        readonly language?: string | undefined
        readonly prompt?: string | undefined
      }
      /** null: the client commits each turn itself, as push-to-talk does. */
      readonly turn_detection: TurnDetection | null
    }
    readonly output: { readonly format: Format; readonly voice: string; readonly speed: number }
  }
  /** Ours: who the gateway takes the caller for. */
  readonly x_caller?: { readonly kind: 'device' | 'host'; readonly name: string }
  /** Ours: the conversation that this session goes on with, for `?conversation=`. */
  readonly x_conversation?: string | null
  readonly x_thinking?: boolean | null
  /** Ours: what speaks the answers; null where nothing does, and then they are text. */
  readonly x_speech?: string | null
}

/** What the page needs to know of an engine. */
export interface EngineState {
  /** `demo` where nothing real was found: its answers are labelled as such. */
  readonly kind: 'ollama' | 'whisper.cpp' | 'openai' | 'asr-webservice' | 'wyoming' | 'sherpa' | 'demo'
  readonly ready: boolean
  /** Model names that a caller may ask for. */
  readonly models: readonly string[]
  /** By model name, of those whose engine tells. */
  readonly details?: Readonly<Record<string, ModelDetails>>
  /** For people: what is wrong, when something is. No upstream address in it. */
  readonly problem?: string
  /** For people: the command or step that gives the real engine. */
  readonly remedy?: string
}

export interface ModelDetails {
  /** Whether it sees pictures. */
  readonly vision: boolean
  /** Whether it can think before it answers. */
  readonly thinking: boolean
  /** Tokens; null where the engine does not say. */
  readonly contextTokens: number | null
}

/** `GET /v1/audio/voices` */
export interface VoiceList {
  /** Those that may be asked for; empty where the engine does not tell. */
  readonly voices: readonly SpeakingVoice[]
}

export interface SpeakingVoice {
  /** What a session’s `audio.output.voice` says. */
  readonly id: string
  /** For people. */
  readonly name: string
  /** BCP 47; null where it is not known. */
  readonly language: string | null
}

export interface EngineStates {
  readonly chat: EngineState
  readonly transcription: EngineState
}

/**
 * Where the time of a turn went, in milliseconds from the end of speech (for a typed turn: from
 * `response.create`); null for what it had not.
 */
export interface Timings {
  /** The first silence was noticed, and the end of the turn decided. */
  readonly turn: number | null
  readonly transcript: number | null
  readonly first_token: number | null
  readonly first_audio: number | null
}

export interface OutputPlace {
  readonly response_id: string
  readonly item_id: string
  readonly output_index: number
}

export interface Place extends OutputPlace {
  readonly content_index: number
}

type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'audio'; readonly transcript: string }
type Usage = { readonly type: 'duration'; readonly seconds: number }

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
  'input_audio_buffer.speech_started': { audio_start_ms: number; item_id: string }
  'input_audio_buffer.speech_stopped': { audio_end_ms: number; item_id: string }
  'input_audio_buffer.committed': { item_id: string; previous_item_id: string | null }
  'input_audio_buffer.cleared': object
  'input_audio_buffer.timeout_triggered': { audio_start_ms: number; audio_end_ms: number; item_id: string }
  'conversation.item.added': { item: Item; previous_item_id: string | null }
  'conversation.item.done': { item: Item; previous_item_id: string | null }
  'conversation.item.retrieved': { item: Item }
  'conversation.item.truncated': { item_id: string; content_index: number; audio_end_ms: number }
  'conversation.item.deleted': { item_id: string }
  'conversation.item.input_audio_transcription.delta': {
    item_id: string
    content_index: 0
    delta: string
  }
  'conversation.item.input_audio_transcription.completed': {
    item_id: string
    content_index: 0
    transcript: string
    usage: Usage
  }
  'conversation.item.input_audio_transcription.failed': {
    item_id: string
    content_index: 0
    error: { type: 'server_error'; code: string; message: string }
  }
  'response.created': { response: Response }
  'response.output_item.added': { response_id: string; output_index: number; item: Item }
  'response.content_part.added': Place & {
    part: Part
    /** Ours: the number of the binary frames that carry its sound. */
    x_stream?: number
  }
  'response.output_text.delta': Place & { delta: string }
  'response.output_text.done': Place & { text: string }
  'response.output_audio_transcript.delta': Place & { delta: string }
  'response.output_audio_transcript.done': Place & { transcript: string }
  'response.output_audio.delta': Place & { delta: string }
  'response.output_audio.done': Place
  'response.content_part.done': Place & { part: Part }
  'response.function_call_arguments.delta': OutputPlace & { call_id: string; delta: string }
  'response.function_call_arguments.done': OutputPlace & { call_id: string; name: string; arguments: string }
  'response.output_item.done': { response_id: string; output_index: number; item: Item }
  'response.done': { response: Response }
  'x.engines': { engines: EngineStates }
  /** Words heard since the last `.delta`, which may change yet; each replaces the one before. */
  'x.partial': { item_id: string; tail: string }
  /** Somebody may be interrupting: play softly, or as before. */
  'x.duck': { on: boolean }
  /** Stop the sound of this item at once; what was heard of it is `audio_end_ms`. */
  'x.hush': { item_id: string; audio_end_ms: number }
  'x.timings': { response_id: string | null; timings: Timings }
  /** The conversation was begun, renamed or deleted, here or on another device; null once it is deleted. */
  'x.conversation': { id: string | null; title: string | null }
  /** Of a conversation that was opened with `?items=N`: there are more before the first that was sent. */
  'x.earlier': { before: string }
  /** One of the person's conversations was begun, changed or restored, or deleted, on whatever device. */
  'x.conversations': { changed: ConversationSummary } | { removed: string }
  /** A piece of what the model thinks before it answers. */
  'x.reasoning.delta': OutputPlace & { delta: string }
}

export type ServerEventBody = { [T in keyof Bodies]: { readonly type: T } & Bodies[T] }[keyof Bodies]

/** What the server sends: every event has an id, since stock clients drop those that have none. */
export type ServerEvent = ServerEventBody & { readonly event_id: string }

/**
 * What keeps a session of ours whole across connections: neither is counted among the messages. Each side
 * counts what it receives, text and binary, and keeps what it sent until the other has said that it came.
 *
 * A client reconnects with `?resume=SESSION&received=N`; the first message is then `x.resumed`, and both send
 * again what the other has not had. Where the session is gone, the first message is `session.created`.
 */
export type LinkEvent =
  | { readonly type: 'x.ack'; readonly received: number }
  | { readonly type: 'x.resumed'; readonly received: number }
