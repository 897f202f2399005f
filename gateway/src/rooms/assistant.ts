/**
 * The assistant in rooms: called by its name, it answers on the gateway of whoever called it, by that one's leave and
 * limits. It answers people alone: what it writes itself, or what comes from other gateways, calls nobody.
 */
import { randomUUID } from 'node:crypto'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { waitMs } from '#admission/wait.ts'
import type { Admission } from '#admission/admission.ts'
import type { ChatMessage, Engines } from '#engines/engine.ts'
import type { Member } from '#identity/caller.ts'
import type { Recorder } from '#ledger/record.ts'
import { createAccount } from '#realtime/account.ts'
import type { RoomDraft } from '#protocol/rooms.ts'
import { asFailure, Failure } from '../failure.ts'
import type { MessageRow, RoomDatabase, RoomRow } from './database.ts'
import { memberIn } from './members.ts'
import type { Messages } from './messages.ts'
import type { News, Written } from './news.ts'
import { shorten, type Who } from './room.ts'

export interface Assistant {
  /** Answers a message where it calls the assistant; what goes wrong is told to the caller alone. */
  hear(call: Calling): void
  /** Ends an answer that one has called for; what is written of it stays. Throws a `Failure`. */
  stop(who: Who, draft: string): void
  /** What is being written now. */
  readonly drafts: readonly Written[]
  close(): Promise<void>
}

export interface Calling {
  readonly who: Who
  readonly caller: Member
  readonly address: string
  readonly room: string
  readonly message: string
  readonly text: string
}

export interface AssistantDeps {
  readonly database: RoomDatabase
  readonly messages: Pick<Messages, 'post'>
  readonly news: Pick<News, 'draft'>
  readonly engines: Pick<Engines, 'chat' | 'states'>
  readonly admission: Admission
  readonly recorder: Recorder
}

/** By which it is called, whatever its model. */
const itsName = 'sotto'
/** Calls of one person in a minute, and answers that one person has under way. */
const callsPerMinute = 10
const answersAtOnce = 2
/** Of what was said before, for the model to read: some 4,000 tokens, which even small models take. */
const contextBytes = 16_384
const contextMessages = 60
/** More would not fit into a message. */
const outputTokens = 1_200
/** Between two states of a draft that are told, ms. */
const tellMs = 150

interface Answering {
  readonly person: string
  readonly abort: AbortController
  draft: RoomDraft
}

export function createAssistant(deps: AssistantDeps): Assistant {
  const { admission, database, engines, messages, news, recorder } = deps
  const calls = new RateLimiterMemory({ points: callsPerMinute, duration: 60 })
  const answering = new Map<string, Answering>()
  const running = new Set<Promise<void>>()

  const usable = (caller: Member): readonly string[] =>
    engines.states.chat.models.filter((model) => admission.mayUse(caller, model))

  const answer = async (calling: Calling, model: string): Promise<void> => {
    const { who, caller, address, message } = calling
    const { room } = await memberIn(database, calling.room, who.id)
    const id = randomUUID()
    const author = { name: who.name, gateway: null, via: null, person: who.id }
    const mine: Answering = {
      person: who.id,
      abort: new AbortController(),
      draft: { id, room: room.id, model, author, text: '', state: 'writing', problem: null },
    }
    const show = (next: Partial<RoomDraft>, only?: string): void => {
      mine.draft = { ...mine.draft, ...next }
      news.draft(mine.draft, only)
    }
    const end = (why: string) => (): void => mine.abort.abort(new Failure('forbidden', why))
    const forget = recorder.opened({ caller, end: end('Its caller may not ask any more.') })
    answering.set(id, mine)
    let told = 0
    let text = ''
    try {
      await calls.consume(who.id).catch((state: unknown) => {
        throw state instanceof RateLimiterRes ? tooOften(state) : state
      })
      if ([...answering.values()].filter(({ person }) => person === who.id).length > answersAtOnce)
        throw new Failure('busy', 'Two answers for you are under way. Wait for one of them.')
      show({})
      const account = createAccount({
        current: () => caller,
        address,
        admission,
        recorder,
        as: { service: 'rooms', method: 'POST', path: `/sotto/rooms/${room.id}/messages`, connected: false },
      })
      const asked = { model, messages: await readContext(database, room, message), output: outputTokens }
      const { signal } = mine.abort
      for await (const piece of account.charge(asked, signal, (wish) => engines.chat.chat(wish, signal))) {
        // What it thinks is for nobody, and it has no functions.
        if (typeof piece !== 'string') continue
        text += piece
        if (performance.now() - told < tellMs) continue
        told = performance.now()
        show({ text })
      }
      if (text.trim() === '') throw new Failure('bad_upstream', `${model} answered with nothing.`)
      await messages.post(who, room.id, { id, text: shorten(text), reply: message, model })
      show({ text, state: 'ended' })
    } catch (error) {
      const failure = asFailure(mine.abort.signal.aborted ? mine.abort.signal.reason : error)
      // What others have seen stays.
      if (text.trim() !== '')
        await messages
          .post(who, room.id, { id, text: shorten(`${text.trimEnd()} …`), reply: message, model })
          .catch(() => undefined)
      show({ text: '', state: 'ended' })
      if (failure.detail !== 'stopped') show({ state: 'failed', problem: failure.message }, who.id)
    } finally {
      forget()
      answering.delete(id)
    }
  }

  return {
    hear(calling) {
      const models = usable(calling.caller)
      const called = calledIn(calling.text, models)
      if (called === undefined) return
      const done = modelOf(database, calling.room, called, models)
        .then((model) => answer(calling, model))
        .catch(() => undefined)
        .finally(() => running.delete(done))
      running.add(done)
    },
    stop(who, draft) {
      const found = answering.get(draft)
      if (found?.person !== who.id)
        throw new Failure('not_found', 'There is no such answer under way.', undefined, {
          detail: 'answer_missing',
        })
      found.abort.abort(new Failure('invalid', 'It was stopped.', undefined, { detail: 'stopped' }))
    },
    get drafts() {
      return [...answering.values()].map(({ draft }) => ({ draft }))
    },
    async close() {
      for (const { abort } of answering.values())
        abort.abort(new Failure('unavailable', 'The gateway is closing.'))
      await Promise.all(running)
    },
  }
}

/**
 * Which model a text calls: empty for the room's own (`@sotto`), undefined where it calls none. A model is called by
 * its name, with its tag or without.
 *
 * @internal
 */
export function calledIn(text: string, models: readonly string[]): string | undefined {
  for (const [, said = ''] of text.matchAll(/(?:^|[^\p{L}\p{N}_@.])@([\p{L}\p{N}][\p{L}\p{N}._:/@-]*)/gu)) {
    const name = said.toLowerCase().replace(/[._:/@-]+$/, '')
    if (name === itsName) return ''
    const exact = models.find((model) => withoutTag(model, 'latest') === withoutTag(name, 'latest'))
    const found = exact ?? models.find((model) => withoutTag(model) === name)
    if (found !== undefined) return found
  }
  return undefined
}

/** `llama3.2:latest@friend` is called `llama3.2@friend`, too. */
function withoutTag(model: string, tag = '[^@]*'): string {
  return model.toLowerCase().replace(new RegExp(`:${tag}(?=@|$)`), '')
}

/**
 * The one that is called; for `@sotto` the room's, and where it is not there the first of our own: nobody's words go to
 * a friend's engine unless that was said.
 */
async function modelOf(
  database: RoomDatabase,
  room: string,
  called: string,
  models: readonly string[],
): Promise<string> {
  if (called !== '') return called
  const { model } = await database
    .selectFrom('rooms')
    .select('model')
    .where('id', '=', room)
    .executeTakeFirstOrThrow()
  return models.find((one) => one === model) ?? models.find((one) => !one.includes('@')) ?? model ?? itsName
}

/** What was said last, as far as it fits, the calling message as the last of it. */
async function readContext(database: RoomDatabase, room: RoomRow, calling: string): Promise<ChatMessage[]> {
  const rows = await database
    .selectFrom('messages')
    .selectAll()
    .where('room_id', '=', room.id)
    .where('deleted', '=', 0)
    .orderBy('number', 'desc')
    .limit(contextMessages)
    .execute()
  const asked = rows.find(({ id }) => id === calling)
  const messages: ChatMessage[] = []
  let left = contextBytes
  for (const row of [asked, ...rows.filter(({ id }) => id !== calling)]) {
    if (!row) continue
    left -= Buffer.byteLength(row.text)
    if (left < 0 && messages.length > 0) break
    messages.unshift(asChat(row))
  }
  return [{ role: 'system', content: promptOf(room) }, ...messages]
}

function asChat({ author, model, text }: MessageRow): ChatMessage {
  return model === null
    ? { role: 'user', content: `${author}: ${text}` }
    : { role: 'assistant', content: text }
}

function promptOf({ name, instructions }: RoomRow): string {
  return [
    `You are an assistant in the room “${name}”, where several people write to each other.`,
    'Before each of their messages stands who wrote it. The last one calls you: answer it, in its language, briefly.',
    'Begin with the answer itself, without a name before it.',
    instructions,
  ]
    .filter((line) => line !== '')
    .join('\n')
}

function tooOften(state: RateLimiterRes): Failure {
  const seconds = Math.max(1, Math.ceil(waitMs(state, 60) / 1000))
  return new Failure(
    'rate_limited',
    `You called the assistant ${callsPerMinute} times within a minute. It answers again in ${seconds} s.`,
    undefined,
    { retryAfter: seconds },
  )
}
