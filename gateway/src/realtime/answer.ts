/** One answer on its way to the client: words, sound and calls of functions, ended exactly once. */
import type { ToolCall } from '#engines/engine.ts'
import type { Item, MessageItem, Place, Response, ServerEventBody } from '#protocol/events.ts'
import { outputSampleRate } from '#protocol/frame.ts'
import { asFailure } from '../failure.ts'
import type { Conversation } from './conversation.ts'
import type { Draft } from './draft.ts'
import { newId } from './id.ts'
import { createPlayback, type Playback } from './playback.ts'
import { createSentences } from './sentences.ts'
import { createVoice, type Voice } from './voice.ts'

/** What the answer reads on: from which piece, and words before it that nobody heard. */
export interface Source {
  readonly draft: Draft
  readonly from: number
  readonly prefix: string
}

export interface AnswerDeps {
  /** Where its items go; undefined for one that is no part of the conversation. */
  readonly conversation: Conversation | undefined
  readonly modality: 'audio' | 'text'
  /** Whether the client is told what the model thinks; else nobody is. */
  readonly thoughts: boolean
  readonly metadata: Response['metadata']
  /** BCP 47, of the answer. */
  readonly locale: string | undefined
  send(event: ServerEventBody): void
  /** Sends sound. */
  sound(place: Place, samples: Int16Array): void
  /** All of its sound was given. */
  silent(place: Place): void
  /** Sound of an answer before this one is heard first, ms. */
  readonly behindMs: number
  /** The number of the frames that carry the sound at this place; undefined where events do. */
  stream(place: Place): number | undefined
  speak(text: string, signal: AbortSignal): AsyncIterable<Int16Array>
  on(event: 'begun' | 'sound' | 'done' | 'token'): void
  failed(error: unknown): void
}

export interface Answer {
  readonly id: string
  /** Whether all of it is out. */
  readonly over: boolean
  /** What of it has begun to be said. */
  readonly caption: string
  /** The message's item, when it was begun. */
  readonly itemId: string | undefined
  readonly playback: Playback
  /** Ends it at once; nothing where it has ended. Its draft is the caller's. */
  end(reason: 'turn_detected' | 'client_cancelled'): void
  /** What was not heard was not said. Returns how much was, ms; undefined where there was no sound. */
  hush(): number | undefined
  /** The item as it was heard until then. */
  cut(ms: number): Item | undefined
  /** What is left of it to be said; undefined where its question is not known yet. */
  rest(): Source | undefined
}

type End = Pick<Response, 'status' | 'status_details'>

const completed: End = { status: 'completed', status_details: null }
const tooLong: End = {
  status: 'incomplete',
  status_details: { type: 'incomplete', reason: 'max_output_tokens' },
}
export const empty: End = {
  status: 'incomplete',
  status_details: { type: 'incomplete', reason: 'empty_input' },
}

/** Sound that the client has and has not played, ms: more would be for nothing when it is interrupted. */
const mostAheadMs = 30_000
/** Of sound in one message: 200 ms, so that none is in another's way for long. */
const mostSamples = outputSampleRate / 5
/** How long speech takes, ms a character: for a text whose sound is not whole yet. */
const msPerCharacter = 65

/** @param source what it says; resolves late where its question is not known yet, and to an end where there is none */
export function startAnswer(source: Promise<Source | End>, deps: AnswerDeps): Answer {
  const { conversation, modality, send } = deps
  const id = newId('resp')
  const itemId = newId('item')
  const abort = new AbortController()
  const playback = createPlayback(deps.behindMs)
  const sentences = createSentences(deps.locale)
  const output: Item[] = []
  let read: Source | undefined
  let pieces = 0
  /** Whether there was more than thoughts. */
  let spoke = false
  /** All that was written so far, and what of it was given to the voice, in order. */
  let text = ''
  let reasoning = ''
  const chunks: string[] = []
  /** How much of it is in the caption. */
  let shown = 0
  let open: { readonly text: string; ms: number } | undefined
  let message: { readonly place: Place; readonly before: string | null } | undefined
  let heardText: string | undefined
  let over = false

  const caption = (): string => text.slice(0, shown)
  const response = (end: End): Response => ({
    id,
    object: 'realtime.response',
    conversation_id: conversation?.id ?? null,
    ...end,
    output: [...output],
    output_modalities: [modality],
    metadata: deps.metadata,
    usage: usageOf(read),
  })
  const item = (status: Item['status']): MessageItem => {
    const said = heardText ?? (modality === 'audio' ? caption() : text)
    return {
      id: itemId,
      object: 'realtime.item',
      type: 'message',
      role: 'assistant',
      status,
      content:
        modality === 'audio'
          ? [{ type: 'output_audio', transcript: said }]
          : [{ type: 'output_text', text: said }],
      ...(reasoning !== '' && { x_reasoning: reasoning }),
    }
  }
  const put = (made: Item): string | null => {
    conversation?.put(made)
    return conversation?.before(made.id) ?? null
  }
  const begin = (): Place => {
    if (message) return message.place
    const place = { response_id: id, item_id: itemId, output_index: output.length, content_index: 0 }
    const first: MessageItem = { ...item('in_progress'), content: [] }
    message = { place, before: put(first) }
    output.push(first)
    const { response_id, output_index } = place
    send({ type: 'response.output_item.added', response_id, output_index, item: first })
    if (conversation) send({ type: 'conversation.item.added', item: first, previous_item_id: message.before })
    const stream = deps.stream(place)
    send({
      type: 'response.content_part.added',
      ...place,
      part: modality === 'audio' ? { type: 'audio', transcript: '' } : { type: 'text', text: '' },
      ...(stream !== undefined && { x_stream: stream }),
    })
    deps.on('begun')
    return place
  }
  const voice: Voice | undefined =
    modality === 'text'
      ? undefined
      : createVoice({
          signal: abort.signal,
          speak: deps.speak,
          failed: (error) => fail(error),
          begin(said) {
            const place = begin()
            open = { text: show(place, text.indexOf(said, shown) + said.length), ms: 0 }
          },
          sound(samples) {
            if (over || !message || !open) return undefined
            const ms = (samples.length * 1000) / outputSampleRate
            open.ms += ms
            const first = playback.sentMs === 0
            playback.sent(ms)
            for (let at = 0; at < samples.length; at += mostSamples)
              deps.sound(message.place, samples.subarray(at, at + mostSamples))
            if (first) deps.on('sound')
            const ahead = playback.sentMs - playback.heardMs - mostAheadMs
            return ahead > 0 ? wait(ahead, abort.signal) : undefined
          },
          end(samples) {
            playback.spoke(open?.text ?? '', (samples * 1000) / outputSampleRate)
            open = undefined
          },
        })
  /** The caption, up to there: as it was written, with what the voice leaves out. */
  const show = (place: Place, end: number): string => {
    const delta = text.slice(shown, end)
    shown = end
    if (delta !== '') send({ type: 'response.output_audio_transcript.delta', ...place, delta })
    return delta
  }
  const say = (said: readonly string[]): void => {
    for (const chunk of said) {
      chunks.push(chunk)
      voice?.say(chunk)
    }
  }
  const write = (delta: string): void => {
    text += delta
    if (voice) return say(sentences.push(delta))
    send({ type: 'response.output_text.delta', ...begin(), delta })
  }
  const think = (delta: string): void => {
    const { response_id, item_id, output_index } = begin()
    reasoning += delta
    send({ type: 'x.reasoning.delta', response_id, item_id, output_index, delta })
  }
  const call = ({ name, arguments: given }: ToolCall): void => {
    const made = {
      id: newId('item'),
      object: 'realtime.item',
      type: 'function_call',
      call_id: newId('call'),
      name,
    } as const
    const place = { response_id: id, item_id: made.id, output_index: output.length }
    const first: Item = { ...made, status: 'in_progress', arguments: '' }
    const whole: Item = { ...made, status: 'completed', arguments: given }
    const before = put(whole)
    output.push(whole)
    const { response_id, output_index } = place
    send({ type: 'response.output_item.added', response_id, output_index, item: first })
    if (conversation) send({ type: 'conversation.item.added', item: first, previous_item_id: before })
    const { call_id } = made
    send({ type: 'response.function_call_arguments.delta', ...place, call_id, delta: given })
    send({ type: 'response.function_call_arguments.done', ...place, call_id, name, arguments: given })
    send({ type: 'response.output_item.done', response_id, output_index, item: whole })
    if (conversation) send({ type: 'conversation.item.done', item: whole, previous_item_id: before })
    deps.on('begun')
  }
  const close = (whole: boolean): void => {
    if (!message) return
    const { place, before } = message
    const last = item(whole ? 'completed' : 'incomplete')
    conversation?.put(last)
    output[place.output_index] = last
    if (modality === 'audio') {
      send({ type: 'response.output_audio.done', ...place })
      send({ type: 'response.output_audio_transcript.done', ...place, transcript: caption() })
      send({ type: 'response.content_part.done', ...place, part: { type: 'audio', transcript: caption() } })
    } else {
      send({ type: 'response.output_text.done', ...place, text })
      send({ type: 'response.content_part.done', ...place, part: { type: 'text', text } })
    }
    const { response_id, output_index } = place
    send({ type: 'response.output_item.done', response_id, output_index, item: last })
    if (conversation) send({ type: 'conversation.item.done', item: last, previous_item_id: before })
  }
  const finish = (end: End): void => {
    if (over) return
    over = true
    abort.abort()
    close(end.status === 'completed')
    send({ type: 'response.done', response: response(end) })
    deps.on('done')
  }
  const run = async (): Promise<End> => {
    const found = await source
    if ('status' in found) return found
    read = found
    if (over) return completed
    if (found.prefix !== '') write(found.prefix)
    for await (const piece of found.draft.read(found.from, abort.signal)) {
      pieces += 1
      if (typeof piece === 'object' && 'reasoning' in piece) {
        if (deps.thoughts) think(piece.reasoning)
        continue
      }
      if (!spoke) deps.on('token')
      spoke = true
      if (typeof piece === 'string') write(piece)
      else {
        if (voice) say(sentences.end())
        call(piece)
      }
    }
    if (voice) {
      say(sentences.end())
      await voice.finished()
      if (message) {
        deps.silent(message.place)
        show(message.place, text.length)
      }
    }
    return found.draft.usage?.cut ? tooLong : completed
  }
  send({ type: 'response.created', response: response({ status: 'in_progress', status_details: null }) })
  const fail = (error: unknown): void => {
    if (over) return
    deps.failed(error)
    read?.draft.drop()
    const { code, message: why } = asFailure(error)
    const told = { type: 'server_error', code, message: why } as const
    finish({ status: 'failed', status_details: { type: 'failed', error: told } })
  }
  run().then(finish, fail)
  const cut = (ms: number): Item | undefined => {
    if (!message || modality === 'text') return undefined
    // Its sound is not whole: what was sent of it is at least that long.
    if (open) {
      playback.spoke(open.text, Math.max(open.ms, open.text.length * msPerCharacter))
      open = undefined
    }
    heardText = playback.until(ms)
    const said = item('incomplete')
    conversation?.put(said)
    return said
  }
  return {
    id,
    get over() {
      return over
    },
    get caption() {
      return caption()
    },
    get itemId() {
      return message && itemId
    },
    playback,
    end(reason) {
      finish({ status: 'cancelled', status_details: { type: 'cancelled', reason } })
    },
    hush() {
      if (playback.sentMs === 0) return undefined
      const ms = Math.round(playback.heardMs)
      cut(ms)
      return ms
    },
    cut,
    rest() {
      if (!read) return undefined
      const from = read.from + pieces
      if (!voice) return { draft: read.draft, from, prefix: '' }
      return {
        draft: read.draft,
        from,
        prefix: text.slice(startOf(chunks, playback.whole(playback.heardMs), text)),
      }
    },
  }
}

/** Where the chunk begins in the text that they were cut from. */
function startOf(chunks: readonly string[], index: number, text: string): number {
  let at = 0
  for (const chunk of chunks.slice(0, index)) at = Math.max(at, text.indexOf(chunk, at) + chunk.length)
  return at
}

function usageOf(read: Source | undefined): Response['usage'] {
  const usage = read?.draft.usage
  if (!usage) return null
  const { input, output } = usage
  return { total_tokens: input + output, input_tokens: input, output_tokens: output }
}

async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((settle) => {
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      settle()
    }
  })
}
