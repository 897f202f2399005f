/** The answers of a session: one at a time in its conversation, begun on a guess where that can be, and others aside. */
import type { Logger } from 'pino'
import type { ChatTool, Engines } from '#engines/engine.ts'
import type { Speech } from '#engines/speech.ts'
import { queuesAs, type Member } from '#identity/caller.ts'
import type { Item, Place, ResponseWish, ServerEventBody } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import type { Account } from './account.ts'
import { empty, startAnswer, type Answer, type Source } from './answer.ts'
import { messagesOf, sees, textOf, type Conversation } from './conversation.ts'
import { createDraft, type Draft } from './draft.ts'
import type { Encoder } from './codec.ts'
import type { Link } from './link.ts'
import type { Event } from './machine.ts'
import { newItem } from './new-item.ts'
import { packetSamples, type Packer } from './opus.ts'
import { forResponse, type Settings } from './settings.ts'
import type { TurnTimings } from './timings.ts'

export interface AnswersDeps {
  readonly conversation: Conversation
  readonly engines: Engines
  readonly speech: Speech | undefined
  readonly caller: Member
  readonly account: Account
  readonly link: Link
  readonly timings: TurnTimings
  readonly log: Pick<Logger, 'error'>
  settings(): Settings
  /** The model that answers; null for the engine's first. */
  model(settings: Settings): string | null
  /** How an answer's sound is sent that is not sent as it is; closed by who asked for it. */
  codec(): Promise<Codec>
  dispatch(event: Event): void
  send(event: ServerEventBody): void
  /** Resolves when every turn so far has its words. */
  heard(): Promise<void>
  /** How long the turn of this answer took, once it is known. */
  told(responseId: string): void
}

/** One of them, or none: PCM in binary frames. */
export interface Codec {
  readonly encoder?: Encoder
  readonly packer?: Packer
}

export interface Answers {
  /** What is being said right now. */
  readonly saying: string
  /** What the next answer is to be like. */
  want(wish: ResponseWish): void
  /** Begins one that is no part of the conversation. Throws a `Failure`. */
  aside(wish: ResponseWish): void
  /** Ends one of those. False where there is none of that id. */
  cancelAside(id: string): boolean
  /** The id of the one that is on its way. */
  readonly active: string | undefined
  /** Begins to answer these words before it is sure that they are all. */
  guess(words: string): void
  forgetGuess(): void
  start(waits: boolean): void
  goOn(): void
  cancel(): void
  breakOff(): void
  dropBrokenOff(): void
  hush(): void
  /** Another one begins: its sound follows what a client of OpenAI's still has, and ours plays no more. */
  overtake(): void
  /** What of an item's sound was heard, as the client says. Throws a `Failure`. */
  truncate(id: string, ms: number): void
  played(id: string, ms: number): void
  /** Ends all of them; nothing is sent any more. */
  close(): void
}

/** OpenAI's own, which its clients send without being asked. */
const foreignVoices = new Set(
  'default alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse'.split(' '),
)
/** A client's echo canceller learns while the first answer is heard, ms. */
const waryMs = 3_000
/** A client that has not said what it played for so long plays no more. */
const silentReportMs = 3_000
const mostAsides = 4
/** Answers whose sound a client may still cut. */
const remembered = 8

export function createAnswers(deps: AnswersDeps): Answers {
  const { conversation, dispatch, link, send, timings } = deps
  let current: Answer | undefined
  let draft: Draft | undefined
  let brokenOff: { readonly source: Source | undefined; readonly wish: ResponseWish } | undefined
  let guessed: { readonly key: string; readonly draft: Draft } | undefined
  let wish: ResponseWish = {}
  /** What the present one was to be like. */
  let asked: ResponseWish = {}
  const asides = new Map<string, { readonly answer: Answer; drop(): void }>()
  const recent = new Map<string, Answer>()
  let streams = 0
  /** Sound of an answer before that is heard first, ms. */
  let behindMs = 0
  let trusted = false
  let over: NodeJS.Timeout | undefined

  const modalityOf = ({ output_modalities: [modality = 'audio'] }: Settings): 'audio' | 'text' =>
    deps.speech ? modality : 'text'
  /** Who listens waits for the first word; who reads may look at what is thought. */
  const thinkingOf = (settings: Settings): boolean | undefined =>
    settings.x_thinking ?? (modalityOf(settings) === 'audio' ? false : undefined)
  const write = (settings: Settings, items: readonly Item[]) => {
    const { caller, account, engines } = deps
    const think = thinkingOf(settings)
    const tools = toolsOf(settings)
    const model = deps.model(settings)
    const request = {
      model,
      messages: messagesOf(items, settings.instructions, sees(engines.states.chat, model)),
      ...(tools.length > 0 && { tools }),
      ...(think !== undefined && { think }),
      ...(settings.max_output_tokens !== 'inf' && { output: settings.max_output_tokens }),
      tenant: caller.tenant.id,
      caller: queuesAs(caller),
    }
    return createDraft((signal, onUsage) =>
      account.charge({ ...request, onUsage }, signal, (admitted) => engines.chat.chat(admitted, signal)),
    )
  }
  /** What an answer hangs on, without its pictures' bytes. */
  const keyOf = (settings: Settings, items: readonly Item[]): string =>
    JSON.stringify([
      deps.model(settings),
      settings.instructions,
      settings.max_output_tokens,
      thinkingOf(settings),
      toolsOf(settings),
      messagesOf(items, '').map(({ images, ...message }) => [message, images?.map(({ length }) => length)]),
    ])
  const forget = (): void => {
    guessed?.draft.drop()
    guessed = undefined
  }
  /** What is to be said, now that it is known what was asked. */
  const source = (settings: Settings, items: readonly Item[]): Source | typeof empty => {
    // Who says for just this answer what it is to be wants it in any case.
    if (asked.instructions === undefined && isEmpty(items.at(-1), settings)) return empty
    const right = guessed && !guessed.draft.failed && guessed.key === keyOf(settings, items)
    const taken = right ? guessed?.draft : undefined
    if (taken) guessed = undefined
    else forget()
    return { draft: taken ?? write(settings, items), from: 0, prefix: '' }
  }
  const open = (
    settings: Settings,
    found: Promise<Source | typeof empty>,
    aside: ResponseWish | undefined,
  ): Answer => {
    const modality = modalityOf(settings)
    let number = 0
    let offset = 0
    let codec: Codec = {}
    const packets = (made: readonly Uint8Array[]): void => {
      for (const packet of made) {
        link.frame({ stream: number, offset, packet })
        offset += packetSamples
      }
    }
    const bytes = (place: Place, sound: Buffer): void => {
      if (sound.length > 0)
        send({ type: 'response.output_audio.delta', ...place, delta: sound.toString('base64') })
    }
    const is = (): boolean => aside !== undefined || current === answer
    const ready = Promise.all([found, modality === 'text' ? {} : deps.codec()]).then(([made, opened]) => {
      codec = opened
      return made
    })
    const answer: Answer = startAnswer(ready, {
      conversation: aside ? undefined : conversation,
      modality,
      thoughts: link.dialect === 'ours',
      metadata: (aside ?? wish).metadata ?? null,
      locale: settings.audio.input.transcription?.language,
      send,
      stream(place) {
        remember(place.item_id, answer)
        if (link.dialect !== 'ours' || modality === 'text') return undefined
        number = streams = (streams + 1) % 65_536
        return number
      },
      sound(place: Place, samples) {
        const { packer, encoder } = codec
        if (encoder) return bytes(place, encoder.encode(samples))
        if (packer) return packets(packer.pack(samples))
        link.frame({ stream: number, offset, samples })
        offset += samples.length
      },
      silent(place) {
        packets(codec.packer?.rest() ?? [])
        if (codec.encoder) bytes(place, codec.encoder.rest())
      },
      behindMs: takeBehind(),
      speak: (text, signal) => speak(settings, text, signal),
      on(event) {
        if (event === 'done') {
          codec.encoder?.close()
          codec.packer?.close()
          asides.delete(answer.id)
        }
        if (aside || !is()) return
        if (event === 'token') {
          timings.mark('first_token')
          if (modality === 'text') deps.told(answer.id)
          return
        }
        if (event === 'sound') {
          timings.mark('first_audio')
          deps.told(answer.id)
          trust()
        }
        dispatch({ kind: event })
        if (event === 'done') awaitPlayed(answer)
      },
      failed: (error) => deps.log.error({ err: error }, 'an answer failed'),
    })
    return answer
  }
  const speak = (settings: Settings, text: string, signal: AbortSignal): AsyncIterable<Int16Array> => {
    const { speech, caller } = deps
    if (!speech) throw new Failure('unavailable', 'Nothing speaks on this gateway.')
    const { voice, speed } = settings.audio.output
    return speech.say(
      {
        text: speakable(text),
        voice:
          voice === 'default' || (speech.kind !== 'openai' && foreignVoices.has(voice)) ? undefined : voice,
        speed,
        tenant: caller.tenant.id,
        caller: queuesAs(caller),
      },
      signal,
    )
  }
  const takeBehind = (): number => {
    const taken = behindMs
    behindMs = 0
    return taken
  }
  const remember = (id: string, answer: Answer): void => {
    recent.set(id, answer)
    const [oldest] = recent.keys()
    if (recent.size > remembered && oldest !== undefined) recent.delete(oldest)
  }
  const trust = (): void => {
    if (trusted) return
    trusted = true
    setTimeout(() => dispatch({ kind: 'trusted' }), waryMs).unref()
  }
  /** When all of its sound was heard, the answer is over. */
  const awaitPlayed = (answer: Answer): void => {
    clearTimeout(over)
    const { playback } = answer
    const left = playback.sentMs - playback.heardMs
    if (current !== answer) return
    if (left <= 50) return dispatch({ kind: 'played' })
    over = setTimeout(
      () => {
        if (link.dialect === 'ours' && !link.live) return awaitPlayed(answer)
        if (current === answer) dispatch({ kind: 'played' })
      },
      link.dialect === 'ours' ? left + silentReportMs : left,
    )
    over.unref()
  }
  const begin = (
    found: (settings: Settings, wanted: () => boolean) => Promise<Source | typeof empty>,
  ): void => {
    const settings = Object.keys(wish).length > 0 ? forResponse(deps.settings(), wish) : deps.settings()
    current = undefined
    draft = undefined
    const opened: Answer = open(
      settings,
      Promise.resolve()
        .then(() => found(settings, () => current === opened))
        .then((made) => {
          if (current === opened && 'draft' in made) ({ draft } = made)
          return made
        }),
      undefined,
    )
    current = opened
    asked = wish
    wish = {}
  }
  const itemsOf = (input: ResponseWish['input']): readonly Item[] =>
    input?.map((one) => {
      if (one.type !== 'item_reference') return newItem(one)
      const item = conversation.get(one.id)
      if (!item) throw new Failure('invalid', `response.input: there is no item “${one.id}”.`)
      return item
    }) ?? conversation.items
  const find = (id: string): Answer | undefined => recent.get(id)

  return {
    get saying() {
      return current?.caption ?? ''
    },
    get active() {
      return current?.over === false ? current.id : undefined
    },
    want(next) {
      itemsOf(next.input)
      wish = next
    },
    aside(aside) {
      if (asides.size >= mostAsides)
        throw new Failure('busy', `${mostAsides} answers aside are on their way. Wait for one of them.`)
      const settings = forResponse(deps.settings(), aside)
      const made = write(settings, itemsOf(aside.input))
      const answer = open(settings, Promise.resolve({ draft: made, from: 0, prefix: '' }), aside)
      asides.set(answer.id, { answer, drop: () => made.drop() })
    },
    cancelAside(id) {
      const one = asides.get(id)
      one?.answer.end('client_cancelled')
      one?.drop()
      return one !== undefined
    },
    guess(words) {
      const settings = deps.settings()
      const said = newItem({ type: 'message', role: 'user', content: [{ type: 'input_text', text: words }] })
      const items = [...conversation.items, said]
      const key = keyOf(settings, items)
      if (guessed?.key === key && !guessed.draft.failed) return
      forget()
      // Who may ask only so often is not made to pay for guesses.
      if (deps.caller.held.some(({ requestsPerMinute }) => requestsPerMinute !== null)) return
      guessed = { key, draft: write(settings, items) }
    },
    forgetGuess: forget,
    start(waits) {
      const { input } = wish
      begin(async (settings, wanted) => {
        if (waits) await deps.heard()
        // Cancelled while it waited for its question.
        return wanted() ? source(settings, itemsOf(input)) : empty
      })
    },
    goOn() {
      const { source: left, wish: before } = brokenOff ?? { source: undefined, wish: {} }
      brokenOff = undefined
      wish = before
      begin(async (settings) => left ?? source(settings, conversation.items))
    },
    cancel() {
      const ended = current
      current = undefined
      ended?.end('client_cancelled')
      draft?.drop()
    },
    breakOff() {
      const ended = current
      brokenOff = ended && { source: ended.rest(), wish: asked }
      current = undefined
      ended?.end('turn_detected')
    },
    dropBrokenOff() {
      brokenOff?.source?.draft.drop()
      brokenOff = undefined
    },
    hush() {
      clearTimeout(over)
      const ms = current?.hush()
      const id = current?.itemId
      if (ms === undefined || id === undefined) return
      send({ type: 'x.hush', item_id: id, audio_end_ms: ms })
      const item = conversation.get(id)
      if (link.dialect === 'ours' && item) send({ type: 'conversation.item.retrieved', item })
    },
    overtake() {
      if (link.dialect === 'ours') return this.hush()
      behindMs = current ? current.playback.sentMs - current.playback.heardMs : 0
    },
    truncate(id, ms) {
      const answer = find(id)
      if (!answer?.cut(Math.min(ms, answer.playback.sentMs)))
        throw new Failure('invalid', `item_id: “${id}” has no sound of an answer that can be cut.`)
      // Whoever cuts it has stopped it.
      if (answer !== current || !answer.over) return
      clearTimeout(over)
      dispatch({ kind: 'played' })
    },
    played(id, ms) {
      const answer = find(id)
      answer?.playback.report(ms)
      if (answer && answer === current && answer.over) awaitPlayed(answer)
    },
    close() {
      clearTimeout(over)
      forget()
      brokenOff?.source?.draft.drop()
      draft?.drop()
      const ended = current
      current = undefined
      ended?.end('client_cancelled')
      for (const { answer, drop } of asides.values()) {
        answer.end('client_cancelled')
        drop()
      }
    },
  }
}

/** Nothing was said: an answer to silence is an answer to nobody. */
function isEmpty(last: Item | undefined, { instructions }: Settings): boolean {
  if (!last) return instructions === ''
  if (last.type !== 'message' || last.role !== 'user') return false
  return textOf(last).trim() === '' && last.content.every(({ type }) => type !== 'input_image')
}

function toolsOf({ tools, tool_choice }: Settings): ChatTool[] {
  if (tool_choice === 'none') return []
  const one = typeof tool_choice === 'object' ? tool_choice.name : undefined
  return tools.filter(({ name }) => one === undefined || name === one)
}

/** Marks that are for the eye. */
function speakable(text: string): string {
  return text
    .replaceAll(/[*_`#>|]+/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim()
}
