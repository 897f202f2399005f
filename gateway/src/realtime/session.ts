/**
 * One person talking. What comes from the client, from the microphone and from the engines becomes events of the
 * machine; what the machine decides is carried out here, by the pieces beside this file.
 */
import type { Logger } from 'pino'
import type { RawData } from 'ws'
import type { Admission } from '#admission/admission.ts'
import type { Conversations } from '#conversations/conversations.ts'
import type { Thread } from '#conversations/live.ts'
import { withoutPictures } from '#conversations/pictures.ts'
import type { Engines } from '#engines/engine.ts'
import { parseJson } from '#engines/json.ts'
import { friendOf, fullName } from '#protocol/model-name.ts'
import type { Speech } from '#engines/speech.ts'
import { ownerOf, type Member } from '#identity/caller.ts'
import type { Recorder } from '#ledger/record.ts'
import {
  clientEvent,
  type ClientEvent,
  type EngineStates,
  type ServerEventBody,
  type Session as View,
} from '#protocol/events.ts'
import { decodeFrame, type AudioFrame, type OpusFrame } from '#protocol/frame.ts'
import { asFailure, Failure } from '../failure.ts'
import { createAccount } from './account.ts'
import { createAnswers } from './answers.ts'
import { createDecoder, createEncoder, type Decoder } from './codec.ts'
import { createConversation, sees, type Conversation } from './conversation.ts'
import { newId } from './id.ts'
import { createInput, type Fault } from './input.ts'
import { createLink, type Dialect, type Wire } from './link.ts'
import { initial, step, type Effect, type Event } from './machine.ts'
import { newItem } from './new-item.ts'
import { createPacker, createUnpacker, type Unpacker } from './opus.ts'
import { changed, firstSettings, type Settings } from './settings.ts'
import { createTimings } from './timings.ts'
import type { VoiceActivity } from './voice-activity.ts'

export interface SessionDeps {
  readonly wire: Wire
  readonly dialect: Dialect
  readonly type: View['type']
  /** The model that the address named. */
  readonly model: string | undefined
  readonly caller: Member
  /** The same as the admin has it now. Throws a `Failure` where there is none any more. */
  current(): Member | Promise<Member>
  /** Where it comes from. */
  readonly address: string
  readonly engines: Engines
  readonly speech: Speech | undefined
  readonly activity: VoiceActivity
  readonly admission: Admission
  readonly recorder: Recorder
  /** The conversation that goes on; without one it is forgotten with the session. */
  readonly thread: Thread | undefined
  readonly conversations: Pick<Conversations, 'onNews'>
  /** How many of its items are sent, the last; undefined for all. */
  readonly items: number | undefined
  readonly log: Pick<Logger, 'error' | 'info'>
  /** Counts what its client put into it. False where all sessions of its device or key hold too much. */
  hold(bytes: number): boolean
  /** Called once, when nothing of it is left. */
  closed(): void
}

/** A session as the socket's side sees it. */
export interface Session {
  readonly id: string
  /** Another connection of the same client. False where what it has missed is not there any more. */
  attach(wire: Wire, received: number): boolean
  /** Ends it for good: its caller may talk no more. */
  end(): void
}

/** The client's event that is to blame. */
interface Cause {
  readonly event_id?: string | undefined
}

/** Close codes of who does not come back: done, and the page was left. Source: RFC 6455 §7.4.1. */
const goodbyes = new Set([1000, 1001])
/** How long a client of ours may be away. */
const awayMs = 60_000
const beatMs = 1_000
/** What a client may put into its conversation: some hundred photographs. */
const mostPutBytes = 64 * 1024 * 1024
/** A connection that answers no ping for so long is cut, whatever it says itself. */
const pingEveryBeats = 5

/** Serves an accepted socket until its client is gone. */
export function openSession(deps: SessionDeps): Session {
  const { admission, caller, engines, log, speech, thread } = deps
  const ended = new AbortController()
  const id = newId('sess')
  const link = createLink(deps.wire, deps.dialect, () => {
    link.close(1013, 'The client does not read.')
    dispatch({ kind: 'left' })
  })
  const conversation: Conversation = thread ?? createConversation()
  const timings = createTimings()
  let settings: Settings = firstSettings(id, deps.type, speech !== undefined)
  let asked = deps.model ?? thread?.model ?? undefined
  let decoder: Decoder | undefined
  let unpacker: Unpacker | undefined
  let state = initial
  let away: NodeJS.Timeout | undefined
  let silence: NodeJS.Timeout | undefined
  let putBytes = 0
  /** There was an answer, after which nobody said anything; they were spoken to already. */
  let answered = false
  let nudged = false

  const send = (event: ServerEventBody): void => {
    if (!ended.signal.aborted) link.send(event)
  }
  const enginesFor = ({ chat, ...states }: EngineStates): EngineStates => ({
    ...states,
    chat: { ...chat, models: chat.models.filter((name) => admission.mayUse(caller, name)) },
  })
  const models = (): readonly string[] => enginesFor(engines.states).chat.models
  const known = (wanted: string): string | undefined =>
    models().find((name) => name === wanted || name === fullName(wanted))
  const model = (): string | null => {
    const found = known(asked ?? '')
    if (found !== undefined) return found
    // What was asked of a friend's gateway is answered by it or not at all.
    if (asked !== undefined && friendOf(asked) !== undefined) return asked
    // Clients of OpenAI's name its own models, and mean whatever answers here, in the house.
    return models().find((name) => friendOf(name) === undefined) ?? null
  }
  const view = (): View => ({
    ...settings,
    model: model(),
    ...(link.dialect === 'ours' && {
      x_caller: { kind: caller.kind, name: caller.name },
      x_conversation: thread?.id ?? null,
      x_speech: speech?.kind ?? null,
      x_thinking: settings.x_thinking ?? null,
    }),
  })
  const refuse = (error: unknown, event?: ClientEvent): void => {
    const failure = asFailure(error)
    if (failure.code === 'internal') log.error({ err: failure.cause }, 'an event failed')
    if (failure.code === 'invalid') return refusal('invalid_value', failure.message, event)
    send({
      type: 'error',
      error: {
        type: 'server_error',
        code: failure.code,
        message: failure.message,
        ...(event?.event_id !== undefined && { event_id: event.event_id }),
      },
    })
  }

  const answers = createAnswers({
    conversation,
    engines,
    speech,
    caller,
    account: createAccount(deps),
    link,
    timings,
    log,
    settings: () => settings,
    model: () => model(),
    async codec() {
      const { format } = settings.audio.output
      if (link.dialect === 'openai') return { encoder: await createEncoder(format) }
      return format.type === 'audio/opus' ? { packer: await createPacker() } : {}
    },
    dispatch,
    send,
    heard: () => input.settled(),
    told(responseId) {
      const taken = timings.take()
      if (!taken) return
      send({ type: 'x.timings', response_id: responseId, timings: taken })
      deps.recorder.metrics.talked(taken)
    },
  })
  const input = createInput({
    conversation,
    engines,
    caller,
    listener: deps.activity.open(),
    timings,
    log,
    settings: () => settings,
    state: () => state,
    dispatch,
    send,
    saying: () => answers.saying,
    onGuess(words) {
      if (state.turns?.answer === true && state.response === 'none' && state.announced) answers.guess(words)
    },
    signal: ended.signal,
  })

  const effects: Readonly<Record<Effect, (event: ClientEvent | undefined) => void>> = {
    detach() {
      link.detach()
      away = setTimeout(() => dispatch({ kind: 'expired' }), awayMs)
      away.unref()
    },
    attach: () => clearTimeout(away),
    close: () => close(),
    announceStart: () => input.announceStart(),
    announceStop: () => input.announceStop(),
    take: () => input.take(),
    judge: () => input.judge(),
    speculate: () => input.speculate(),
    forgetSpeculation() {
      input.forget()
      answers.forgetGuess()
    },
    dropInput: () => input.drop(),
    duck: () => send({ type: 'x.duck', on: true }),
    unduck: () => send({ type: 'x.duck', on: false }),
    hush: () => answers.hush(),
    overtake: () => answers.overtake(),
    answer: () => answers.start(state.waits),
    cancel: () => answers.cancel(),
    breakOff: () => answers.breakOff(),
    goOn: () => answers.goOn(),
    dropBrokenOff: () => answers.dropBrokenOff(),
    refuseActive: (event) =>
      refusal('conversation_already_has_active_response', 'An answer is on its way. Cancel it first.', event),
    refuseNone: (event) => refusal('response_cancel_not_active', 'There is no answer to cancel.', event),
  }
  const refusal = (code: string, message: string, event: Cause | undefined): void =>
    send({
      type: 'error',
      error: {
        type: 'invalid_request_error',
        code,
        message,
        ...(event?.event_id !== undefined && { event_id: event.event_id }),
      },
    })
  const fault = (found: Fault | undefined, event?: Cause): void => {
    if (found) refusal(found.code, found.message, event)
  }
  /** What happens while effects are carried out comes after them. */
  const happened: { readonly event: Event; readonly cause: ClientEvent | undefined }[] = []
  let working = false
  function dispatch(event: Event, cause?: ClientEvent): void {
    happened.push({ event, cause })
    if (working) return
    working = true
    try {
      for (let next = happened.shift(); next; next = happened.shift()) {
        const audible = state.playback !== 'silent'
        const made = step(state, next.event)
        ;({ state } = made)
        for (const effect of made.effects) effects[effect](next.cause)
        if (audible !== (state.playback !== 'silent')) input.configure()
        if (next.event.kind === 'words') nudged = false
        if (next.event.kind === 'nothing') answers.forgetGuess()
        if (next.event.kind === 'done') answered = !nudged
      }
      watchSilence()
    } finally {
      working = false
    }
  }

  /** After an answer, where the session wants it: who says nothing for long is spoken to. */
  const watchSilence = (): void => {
    const { turn_detection: detect } = settings.audio.input
    const after = detect?.type === 'server_vad' ? detect.idle_timeout_ms : null
    const silent =
      state.link === 'live' && state.input === 'idle' && state.response === 'none' && state.unheard === 0
    if (!silent || !answered || after === null) {
      clearTimeout(silence)
      silence = undefined
      return
    }
    silence ??= setTimeout(() => {
      silence = undefined
      answered = false
      nudged = true
      input.silent(after)
      // Said anew, so that it is answered though nobody said anything.
      answers.want({ instructions: settings.instructions })
      dispatch({ kind: 'create' })
    }, after)
    silence.unref()
  }

  const configure = async (next: Settings): Promise<void> => {
    const before = settings
    settings = next
    const { turn_detection: detect } = next.audio.input
    const talks = next.type === 'realtime'
    dispatch({
      kind: 'configure',
      turns: detect && {
        answer: talks && detect.create_response,
        interrupt: talks && detect.interrupt_response,
      },
    })
    input.configure()
    if (link.dialect === 'ours') {
      if (next.audio.input.format.type === 'audio/opus') unpacker ??= await createUnpacker()
      return
    }
    if (!decoder || before.audio.input.format.type !== next.audio.input.format.type) {
      decoder?.close()
      decoder = await createDecoder(next.audio.input.format)
    }
  }
  const update = async (event: Extract<ClientEvent, { type: 'session.update' }>): Promise<void> => {
    const { model: wanted, ...rest } = event.session
    if (wanted !== undefined && link.dialect === 'ours' && known(wanted) !== wanted)
      return refusal(
        'model_not_found',
        `There is no model “${wanted}” here. There is: ${models().join(', ') || 'none'}.`,
        event,
      )
    const next = changed(settings, rest)
    const formats = [next.audio.input.format.type, next.audio.output.format.type]
    if (
      link.dialect === 'openai'
        ? formats.includes('audio/opus')
        : formats.some((one) => /^audio\/pcm[ua]$/.test(one))
    )
      throw new Failure(
        'invalid',
        link.dialect === 'openai'
          ? 'session.audio: Opus is for the subprotocol realtime.sotto.v1. Take audio/pcm, audio/pcmu or audio/pcma.'
          : 'session.audio: G.711 is for the subprotocol realtime. Take audio/pcm or audio/opus.',
      )
    asked = wanted ?? asked
    await configure(next)
    thread?.configure({
      ...(wanted !== undefined && { model: wanted }),
      ...(rest.instructions !== undefined && { instructions: rest.instructions }),
    })
    send({ type: 'session.updated', session: view() })
    void engines.chat.warm(model())
  }
  const create = (event: Extract<ClientEvent, { type: 'conversation.item.create' }>): void => {
    const { item: given, previous_item_id } = event
    if (given.id !== undefined && has(given.id))
      return refusal('item_exists', `item.id: there is an item “${given.id}” already.`, event)
    if (previous_item_id != null && previous_item_id !== 'root' && !has(previous_item_id))
      throw new Failure('invalid', `previous_item_id: there is no item “${previous_item_id}”.`)
    if (
      given.type === 'message' &&
      given.content.some((part) => 'audio' in part && part.audio && !part.transcript)
    )
      throw new Failure(
        'invalid',
        'item.content: send sound with input_audio_buffer.append, or its transcript.',
      )
    const chosen = model()
    if (
      given.type === 'message' &&
      given.content.some(({ type }) => type === 'input_image') &&
      !sees(engines.states.chat, chosen)
    ) {
      const seeing = models().filter((name) => engines.states.chat.details?.[name]?.vision === true)
      return refusal(
        'model_without_vision',
        `“${chosen}” can’t see pictures. ${seeing.length > 0 ? `Choose one that can: ${seeing.join(', ')}.` : 'No model here can.'}`,
        event,
      )
    }
    const item = newItem(given)
    const bytes = JSON.stringify(item).length
    if (putBytes + bytes > mostPutBytes)
      return refusal('conversation_full', 'This session holds no more: begin another one.', event)
    if (!deps.hold(bytes))
      return refusal('conversation_full', 'Your sessions hold no more: end some of them.', event)
    putBytes += bytes
    conversation.put(item, previous_item_id === 'root' ? null : (previous_item_id ?? undefined))
    const told = { item: withoutPictures(item), previous_item_id: conversation.before(item.id) }
    send({ type: 'conversation.item.added', ...told })
    send({ type: 'conversation.item.done', ...told })
  }
  const has = (itemId: string): boolean => conversation.get(itemId) !== undefined
  const mustHave = (itemId: string) => {
    const item = conversation.get(itemId)
    if (!item) throw new Failure('invalid', `item_id: there is no item “${itemId}”.`)
    return item
  }
  const handle = async (event: ClientEvent): Promise<void> => {
    switch (event.type) {
      case 'session.update':
        return update(event)
      case 'input_audio_buffer.append':
        return fault(
          decoder
            ? input.hear(decoder.decode(Buffer.from(event.audio, 'base64')))
            : { code: 'invalid_audio', message: 'With this subprotocol sound is sent in binary frames.' },
          event,
        )
      case 'input_audio_buffer.commit': {
        const found = input.commit()
        dispatch({ kind: found ? 'clear' : 'commit' })
        return fault(found, event)
      }
      case 'input_audio_buffer.clear':
        dispatch({ kind: 'clear' })
        return send({ type: 'input_audio_buffer.cleared' })
      case 'conversation.item.create':
        return create(event)
      case 'conversation.item.retrieve':
        return send({ type: 'conversation.item.retrieved', item: mustHave(event.item_id) })
      case 'conversation.item.delete':
        mustHave(event.item_id)
        conversation.remove(event.item_id)
        return send({ type: 'conversation.item.deleted', item_id: event.item_id })
      case 'conversation.item.truncate': {
        const { item_id, content_index, audio_end_ms } = event
        mustHave(item_id)
        answers.truncate(item_id, audio_end_ms)
        return send({ type: 'conversation.item.truncated', item_id, content_index, audio_end_ms })
      }
      case 'response.create': {
        if (settings.type === 'transcription')
          throw new Failure('invalid', 'A transcription session gives no answers.')
        const { response = {} } = event
        if (response.conversation === 'none') return answers.aside(response)
        if (answers.active === undefined) {
          answers.want(response)
          timings.begin()
        }
        return dispatch({ kind: 'create' }, event)
      }
      case 'response.cancel': {
        const { response_id } = event
        if (response_id !== undefined && response_id !== answers.active) {
          if (answers.cancelAside(response_id)) return
          return refusal('response_cancel_not_active', 'There is no such answer to cancel.', event)
        }
        return dispatch({ kind: 'cancel' }, event)
      }
      case 'x.playback':
        return answers.played(event.item_id, event.played_ms)
      case 'x.ack':
        return link.acknowledge(event.received)
    }
  }

  /** One after another, though some take a moment: sound that comes meanwhile is of the new format. */
  let queue: Promise<void> | undefined
  const receive = (data: RawData, isBinary: boolean): void => {
    if (ended.signal.aborted) return
    if (queue) {
      const next = queue
        .then(() => take(data, isBinary))
        .finally(() => {
          if (queue === next) queue = undefined
        })
      queue = next
      return
    }
    const taken = take(data, isBinary)
    if (taken) {
      const first = taken.finally(() => {
        if (queue === first) queue = undefined
      })
      queue = first
    }
  }
  const take = (data: RawData, isBinary: boolean): Promise<void> | undefined => {
    const bytes = asBuffer(data)
    if (isBinary) {
      link.counted()
      const frame =
        link.dialect === 'ours' ? decodeFrame(bytes) : { fault: 'This protocol has no binary frames.' }
      if ('fault' in frame) fault({ code: 'invalid_audio', message: frame.fault })
      else hear(frame)
      return undefined
    }
    const read = parse(bytes)
    if (!('event' in read) || read.event.type !== 'x.ack') link.counted()
    if (!('event' in read)) {
      fault({ code: 'invalid_event', message: read.fault }, read)
      return undefined
    }
    const { event } = read
    const done = handle(event).catch((error: unknown) => refuse(error, event))
    return event.type === 'session.update' ? done : undefined
  }
  const hear = (frame: AudioFrame | OpusFrame): void => {
    if ('samples' in frame) return fault(input.frame(frame))
    if (!unpacker)
      return fault({
        code: 'invalid_audio',
        message: 'Say first that you send Opus: session.update with audio.input.format.type "audio/opus".',
      })
    try {
      const { stream, offset } = frame
      fault(input.frame({ stream, offset, samples: unpacker.unpack(frame.packet) }))
    } catch (error) {
      const failure = asFailure(error)
      if (failure.code !== 'invalid') return refuse(failure)
      fault({ code: 'invalid_audio', message: failure.message })
    }
  }

  const serve = ({ socket }: Wire): void => {
    let ponged = true
    let beats = 0
    const beating = setInterval(() => {
      link.beat()
      beats += 1
      if (beats % pingEveryBeats !== 0) return
      if (!ponged) return socket.terminate()
      ponged = false
      socket.ping()
    }, beatMs)
    socket.on('pong', () => {
      ponged = true
    })
    socket.on('message', receive)
    // Without a listener a frame that is too large would end the process.
    socket.on('error', (error) => log.info({ err: error, caller: caller.name }, 'a socket failed'))
    socket.once('close', (code) => {
      clearInterval(beating)
      if (!link.serves(socket)) return
      // Who says goodbye does not come back.
      dispatch({ kind: link.dialect === 'ours' && !goodbyes.has(code) ? 'lost' : 'left' })
    })
  }
  const unsubscribe = [
    engines.onChange((states) => send({ type: 'x.engines', engines: enginesFor(states) })),
    thread &&
      deps.conversations.onNews(ownerOf(caller), (news) => send({ type: 'x.conversations', ...news })),
    thread?.onChange((change) => {
      if (change.kind === 'put') {
        const told = { item: withoutPictures(change.item), previous_item_id: change.previousItemId }
        send({ type: 'conversation.item.added', ...told })
        if (change.item.status !== 'in_progress') send({ type: 'conversation.item.done', ...told })
      } else if (change.kind === 'remove') send({ type: 'conversation.item.deleted', item_id: change.id })
      else if (change.kind === 'renamed')
        send({ type: 'x.conversation', id: conversation.id, title: change.title })
      else if (change.kind === 'deleted') {
        send({ type: 'x.conversation', id: null, title: null })
        // What is said from now on belongs to another one: the client comes back for it.
        dispatch({ kind: 'left' })
      }
    }),
  ]
  function close(): void {
    if (ended.signal.aborted) return
    clearTimeout(away)
    clearTimeout(silence)
    answers.close()
    ended.abort()
    for (const end of unsubscribe) end?.()
    input.close()
    thread?.leave()
    decoder?.close()
    unpacker?.close()
    link.close(1000, '')
    deps.closed()
  }

  serve(deps.wire)
  if (thread?.instructions) settings = { ...settings, instructions: thread.instructions }
  send({ type: 'session.created', session: view() })
  send({ type: 'x.engines', engines: enginesFor(engines.states) })
  if (thread && thread.items.length > 0) {
    send({ type: 'x.conversation', id: thread.id, title: thread.title })
    const shown = thread.items.slice(-(deps.items ?? thread.items.length))
    const [first] = shown
    let previous = first ? thread.before(first.id) : null
    for (const item of shown) {
      send({ type: 'conversation.item.done', item: withoutPictures(item), previous_item_id: previous })
      previous = item.id
    }
    if (first && shown.length < thread.items.length) send({ type: 'x.earlier', before: first.id })
  }
  queue = configure(settings)
    .catch((error: unknown) => refuse(error))
    .finally(() => {
      queue = undefined
    })
  void engines.chat.warm(model())
  return {
    id,
    attach(wire, received) {
      if (ended.signal.aborted || !link.attach(wire, received)) return false
      serve(wire)
      dispatch({ kind: 'back' })
      return true
    },
    end: () => dispatch({ kind: 'left' }),
  }
}

function asBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
}

type Parsed = { readonly event: ClientEvent } | ({ readonly fault: string } & Cause)

function parse(bytes: Buffer): Parsed {
  const json = parseJson(bytes.toString('utf8'))
  if (json === undefined) return { fault: 'An event is one JSON object, and not nested too deep.' }
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
