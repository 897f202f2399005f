/**
 * One person talking: a socket, its conversation, and at most one answer at a time.
 *
 * idle → listening (frames come) → thinking (transcribing, then waiting for the first word) → speaking
 * (words come) → idle. Cancelling one step cancels all behind it; `response.done` comes exactly once.
 */
import type { Logger } from 'pino'
import type { RawData, WebSocket } from 'ws'
import type { Admission } from '#admission/admission.ts'
import type { Engines } from '#engines/engine.ts'
import type { Member } from '#identity/caller.ts'
import type { Recorder } from '#ledger/record.ts'
import {
  clientEvent,
  type ClientEvent,
  type Item,
  type ServerEventBody,
  type Session,
} from '#protocol/events.ts'
import { decodeFrame } from '#protocol/frame.ts'
import { createAccount } from './account.ts'
import { createConversation } from './conversation.ts'
import { newId } from './id.ts'
import { createInputAudio } from './input-audio.ts'
import { createResponder } from './response.ts'
import { createTranscription } from './transcription.ts'

export interface SessionDeps {
  readonly socket: WebSocket
  readonly caller: Member
  /** Where it comes from. */
  readonly address: string
  readonly engines: Engines
  readonly admission: Admission
  readonly recorder: Recorder
  readonly log: Pick<Logger, 'error' | 'info'>
}

/** A reader that stopped: past it the session ends rather than the gateway's memory. */
const maxUnsentBytes = 8 * 1024 * 1024

/** Below this a recording is a slip of the finger (OpenAI refuses it, too). */
const minCommitMs = 100

/** Serves an accepted socket until it closes. */
export function openSession(deps: SessionDeps): void {
  const { socket, caller, engines, log } = deps
  const ended = new AbortController()
  const send = (event: ServerEventBody): void => {
    if (socket.readyState !== socket.OPEN) return
    if (socket.bufferedAmount <= maxUnsentBytes)
      return socket.send(JSON.stringify({ event_id: newId('event'), ...event }))
    socket.close(1013, 'The client does not read.')
    // The closing waits behind all that is unread, and nobody reads what would still be made.
    ended.abort()
  }
  const refuse = (code: string, message: string, event?: { readonly event_id?: string | undefined }): void =>
    send({
      type: 'error',
      error: {
        type: 'invalid_request_error',
        code,
        message,
        ...(event?.event_id && { event_id: event.event_id }),
      },
    })

  const conversation = createConversation()
  const input = createInputAudio()
  const settings = { id: newId('sess'), model: null as string | null, instructions: '' }
  const model = (): string | null =>
    settings.model ?? engines.states.chat.models.find((name) => deps.admission.mayUse(caller, name)) ?? null
  const session = (): Session => ({
    id: settings.id,
    type: 'realtime',
    model: model(),
    instructions: settings.instructions,
    output_modalities: ['text'],
    x_caller: { kind: caller.kind, name: caller.name },
  })
  const transcription = createTranscription({ conversation, engines, log, send, signal: ended.signal })
  const responder = createResponder({
    conversation,
    engines,
    log,
    send,
    signal: ended.signal,
    account: createAccount(deps),
    wish: () => ({ model: model(), messages: conversation.messages(settings.instructions) }),
    ready: () => transcription.settled(),
  })

  const update = (event: Extract<ClientEvent, { type: 'session.update' }>): void => {
    const wanted = event.session.model
    const models = engines.states.chat.models.filter((name) => deps.admission.mayUse(caller, name))
    if (wanted !== undefined && !models.includes(wanted))
      return refuse(
        'model_not_found',
        `There is no model “${wanted}” here. There is: ${models.join(', ') || 'none'}.`,
        event,
      )
    settings.model = wanted ?? settings.model
    settings.instructions = event.session.instructions ?? settings.instructions
    send({ type: 'session.updated', session: session() })
    void engines.chat.warm(model())
  }
  const create = (event: Extract<ClientEvent, { type: 'conversation.item.create' }>): void => {
    if (event.item.id !== undefined && conversation.has(event.item.id))
      return refuse('item_exists', `item.id: there is an item “${event.item.id}” already.`, event)
    const item: Item = { ...event.item, id: event.item.id ?? newId('item'), status: 'completed' }
    const before = conversation.add(item)
    send({ type: 'conversation.item.added', item, previous_item_id: before })
    send({ type: 'conversation.item.done', item, previous_item_id: before })
  }
  const commit = (event: ClientEvent): void => {
    if (input.milliseconds < minCommitMs) {
      input.clear()
      return refuse(
        'input_audio_buffer_commit_empty',
        `A turn of speech has at least ${minCommitMs} ms of sound.`,
        event,
      )
    }
    if (transcription.full) {
      input.clear()
      return refuse(
        'transcription_busy',
        'Earlier recordings still wait for their words, so this one was dropped. Wait, then say it again.',
        event,
      )
    }
    transcription.begin(input.take())
  }
  const handle = (event: ClientEvent): void => {
    switch (event.type) {
      case 'session.update':
        return update(event)
      case 'conversation.item.create':
        return create(event)
      case 'input_audio_buffer.commit':
        return commit(event)
      case 'input_audio_buffer.clear':
        input.clear()
        return send({ type: 'input_audio_buffer.cleared' })
      case 'response.create':
        if (responder.begin()) return
        return refuse(
          'conversation_already_has_active_response',
          'An answer is on its way. Cancel it first.',
          event,
        )
      case 'response.cancel':
        if (responder.cancel(event.response_id)) return
        return refuse('response_cancel_not_active', 'There is no answer to cancel.', event)
    }
  }

  socket.on('message', (data: RawData, isBinary: boolean) => {
    const bytes = asBuffer(data)
    if (isBinary) {
      const frame = decodeFrame(bytes)
      const fault = 'fault' in frame ? { code: 'invalid_audio', message: frame.fault } : input.append(frame)
      if (fault) refuse(fault.code, fault.message)
      return
    }
    const read = parse(bytes)
    if ('fault' in read) refuse('invalid_event', read.fault, read)
    else handle(read.event)
  })
  const unsubscribe = engines.onChange((states) => send({ type: 'x.engines', engines: states }))
  // Without a listener a frame that is too large would end the process.
  socket.on('error', (error) => log.info({ err: error, caller: caller.name }, 'a socket failed'))
  socket.once('close', () => {
    unsubscribe()
    ended.abort()
  })
  send({ type: 'session.created', session: session() })
  send({ type: 'x.engines', engines: engines.states })
  void engines.chat.warm(model())
}

function asBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
}

type Parsed = { readonly event: ClientEvent } | { readonly fault: string; readonly event_id?: string }

function parse(bytes: Buffer): Parsed {
  let json: unknown
  try {
    json = JSON.parse(bytes.toString('utf8'))
  } catch {
    return { fault: 'An event is one JSON object.' }
  }
  const read = clientEvent.safeParse(json)
  if (read.success) return { event: read.data }
  const [issue] = read.error.issues
  const field = issue?.path.join('.') || 'event'
  const id = typeof json === 'object' && json !== null && 'event_id' in json ? json.event_id : undefined
  return {
    fault: `${field}: ${issue?.message ?? 'not an event that this server takes'}.`,
    ...(typeof id === 'string' && { event_id: id.slice(0, 512) }),
  }
}
