/** One answer at a time: asked for, streamed, and ended exactly once, whatever its end is. */
import type { Logger } from 'pino'
import type { ChatWish, Engines } from '#engines/engine.ts'
import type { Item, Response, ServerEventBody } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import type { Account } from './account.ts'
import { textOf, type Conversation } from './conversation.ts'
import { newId } from './id.ts'

export interface ResponderDeps {
  readonly conversation: Conversation
  readonly engines: Engines
  readonly log: Pick<Logger, 'error'>
  send(event: ServerEventBody): void
  /** Ends with the session. */
  readonly signal: AbortSignal
  readonly account: Account
  wish(): ChatWish
  /** Resolves when the words that are to be answered are known. */
  ready(): Promise<void>
}

export interface Responder {
  /** False where an answer is on its way already. */
  begin(): boolean
  /** Ends the answer and the request behind it at once. False where there is none, or not that one. */
  cancel(id?: string): boolean
}

type End = Pick<Response, 'status' | 'status_details'>

const completed: End = { status: 'completed', status_details: null }
const cancelled: End = {
  status: 'cancelled',
  status_details: { type: 'cancelled', reason: 'client_cancelled' },
}
const empty: End = { status: 'incomplete', status_details: { type: 'incomplete', reason: 'empty_input' } }

export function createResponder(deps: ResponderDeps): Responder {
  let active: { readonly id: string; readonly abort: AbortController } | undefined
  return {
    begin() {
      if (active) return false
      active = { id: newId('resp'), abort: new AbortController() }
      const signal = AbortSignal.any([deps.signal, active.abort.signal])
      void respond(deps, active.id, signal, () => {
        active = undefined
      })
      return true
    },
    cancel(id) {
      if (!active || (id !== undefined && id !== active.id)) return false
      active.abort.abort()
      return true
    },
  }
}

async function respond(
  deps: ResponderDeps,
  id: string,
  signal: AbortSignal,
  over: () => void,
): Promise<void> {
  const { conversation, send } = deps
  send({
    type: 'response.created',
    response: response(id, { status: 'in_progress', status_details: null }, []),
  })
  const item = createAnswer(deps, id)
  let end: End
  try {
    await untilAborted(deps.ready(), signal)
    end = isEmpty(conversation.last) ? empty : await answer(deps, item, signal)
  } catch (error) {
    end = signal.aborted ? cancelled : failed(deps, error)
  }
  // Before the last event, so that a client that answers it at once may ask again.
  over()
  const output = item.finish(end.status === 'completed')
  send({ type: 'response.done', response: response(id, end, output) })
}

async function answer(
  { account, engines, wish }: ResponderDeps,
  item: Answer,
  signal: AbortSignal,
): Promise<End> {
  for await (const delta of account.charge(wish(), (admitted) => engines.chat.chat(admitted, signal))) {
    signal.throwIfAborted()
    item.add(delta)
  }
  return completed
}

interface Answer {
  add(delta: string): void
  /** Closes the item, if it was begun; what it holds is what the response put out. */
  finish(whole: boolean): Item[]
}

/** The assistant's message: begun with its first word, so that an answer that never came leaves none. */
function createAnswer({ conversation, send }: ResponderDeps, responseId: string): Answer {
  const id = newId('item')
  const place = { response_id: responseId, item_id: id, output_index: 0, content_index: 0 } as const
  let text = ''
  let before: string | null | undefined
  const item = (status: Item['status']): Item => ({
    id,
    type: 'message',
    role: 'assistant',
    status,
    content: text === '' ? [] : [{ type: 'output_text', text }],
  })
  const begin = (): void => {
    before = conversation.add(item('in_progress'))
    send({
      type: 'response.output_item.added',
      response_id: responseId,
      output_index: 0,
      item: item('in_progress'),
    })
    send({ type: 'conversation.item.added', item: item('in_progress'), previous_item_id: before })
    send({ type: 'response.content_part.added', ...place, part: { type: 'text', text: '' } })
  }
  return {
    add(delta) {
      if (before === undefined) begin()
      text += delta
      send({ type: 'response.output_text.delta', ...place, delta })
    },
    finish(whole) {
      if (before === undefined) return []
      const last = item(whole ? 'completed' : 'incomplete')
      conversation.replace(last)
      send({ type: 'response.output_text.done', ...place, text })
      send({ type: 'response.content_part.done', ...place, part: { type: 'text', text } })
      send({ type: 'response.output_item.done', response_id: responseId, output_index: 0, item: last })
      send({ type: 'conversation.item.done', item: last, previous_item_id: before })
      return [last]
    },
  }
}

/** Nothing was said: an answer to silence is an answer to nobody. */
function isEmpty(last: Item | undefined): boolean {
  return (
    last === undefined ||
    (last.role === 'user' && last.content.every((content) => textOf(content).trim() === ''))
  )
}

function failed({ log }: ResponderDeps, error: unknown): End {
  log.error({ err: error }, 'an answer failed')
  const { code, message } = error instanceof Failure ? error : new Failure('internal', 'The answer failed.')
  return { status: 'failed', status_details: { type: 'failed', error: { code, message } } }
}

function response(id: string, end: End, output: Item[]): Response {
  return { id, object: 'realtime.response', ...end, output }
}

/** The promise, or the signal's reason as soon as it is aborted. */
async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  await new Promise<void>((settle, fail) => {
    signal.addEventListener('abort', () => fail(signal.reason), { once: true })
    promise.then(settle, fail)
  })
}
