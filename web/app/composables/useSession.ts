import type { ItemPage } from '@sotto/gateway/protocol/conversations.ts'
import type { ClientEventInput, EngineStates, ServerEvent, Timings } from '@sotto/gateway/protocol/events.ts'
import { subprotocol } from '@sotto/gateway/protocol/frame.ts'
import { friendOf } from '@sotto/gateway/protocol/model-name.ts'
import { ask as askGateway, Refused } from '~/gateway/ask'
import { createLink, type Connection, type LinkDeps, type Wire } from '~/realtime/link'
import { createMessages, type Attachment, type Message } from '~/realtime/messages'
import type { Player } from './usePlayer'

export interface SessionDeps {
  /** The conversation to begin with; undefined for a new one. */
  readonly first: string | undefined
  readonly player: Player
  /** The gateway tells by itself where a turn begins and ends. */
  readonly handsFree: Ref<boolean>
  /** Answers are wanted as text alone. */
  readonly muted: Ref<boolean>
  /** What is typed is answered aloud, too. */
  readonly aloud: Ref<boolean>
  /** A piece of an answer that has no sound of its own. */
  said(delta: string): void
  /** An answer is written. */
  ended(): void
  /** An answer was stopped by what was said. */
  interrupted(): void
}

/** An answer: asked for, and with its first event it has an id. */
interface Answer {
  readonly id?: string
  /** The id of the event that asked for it. */
  readonly asked?: string
  speaking: boolean
  /** Nothing more of it is to be heard. */
  stopped: boolean
}

/** A message as it is put together. */
export interface Draft {
  readonly text: string
  readonly attachments: readonly Sendable[]
}

/** With its picture, which the gateway has not yet. */
export type Sendable = Exclude<Attachment, { readonly kind: 'picture' }> | Picture
type Picture = Extract<Attachment, { readonly kind: 'picture' }> & { readonly url: string }

/** Refusals of what came too late to matter. */
const harmless = new Set(['response_cancel_not_active', 'item_exists'])

/** How many messages are asked for at a time. */
const pageSize = 100
/** The close code of who leaves an answer to be written to its end. Source: RFC 6455 §7.4.2. */
const leaving = 4_000

type EventFor<T extends ClientEventInput['type']> = Extract<ClientEventInput, { type: T }>
type UserContent = Extract<EventFor<'conversation.item.create'>['item'], { role: 'user' }>['content'][number]
type EventOf<T extends ServerEvent['type']> = Extract<ServerEvent, { type: T }>

/** Each conversation begins in the house, where that can answer: that it leaves is chosen for it alone. */
function mayBegin(name: string, models: readonly string[]): boolean {
  return friendOf(name) === undefined || models.every((one) => friendOf(one) !== undefined)
}

/** The conversation with the gateway. Opened by the caller's mount, closed with it. */
export function useSession(deps: SessionDeps) {
  const { first, player, handsFree, muted, aloud } = deps
  const preferences = usePreferences()
  const { voice } = useVoices()
  const connection = ref<Connection>('connecting')
  /** In order; another array when one comes or goes. */
  const messages = shallowRef<Message[]>([])
  const engines = ref<EngineStates>()
  const caller = ref('')
  const model = ref<string>()
  /** What speaks the answers at the gateway; null where nothing does. */
  const speech = ref<string | null>(null)
  const answer = ref<Answer>()
  const timings = ref<Timings>()
  const problem = ref<string>()
  /** The one that is open. One that nobody has said anything in is not kept. */
  const conversation = ref(first)
  const title = ref<string>()
  const instructions = ref('')
  const thinking = ref<boolean | null>(null)
  /** It is on its way. */
  const opening = ref(first !== undefined)
  /** The gateway keeps it: something was said in it. */
  const stored = ref(first !== undefined)
  /** There are messages before the first; undefined for none. */
  const earlier = ref<string>()
  /** That conversation is not there any more. */
  const gone = ref(false)
  const preferred = usePreferredModel()
  /** It is new: it takes the model that was chosen last. */
  let fresh = false
  /** The session is left for another one, of which something may be asked already. */
  let restarted = false
  let asks = 0
  /** Where answers were stopped here that the gateway holds for whole, by their item. */
  const cut = new Map<string, { readonly contentIndex: number; readonly playedMs: number }>()

  const conversations = useConversations()
  useConnection().share(connection)
  const thread = createMessages(() => {
    drawing ||= requestAnimationFrame(draw)
  })
  let drawing = 0
  /** Once a frame: a conversation comes in a hundred pieces. */
  function draw(): void {
    cancelAnimationFrame(drawing)
    drawing = 0
    messages.value = [...thread.list]
    if (messages.value.length > 0) opening.value = false
  }

  useLastSeen({
    conversation,
    state: () => (answer.value ? undefined : messages.value.length || undefined),
    show(items) {
      if (messages.value.length === 0) thread.prepend(items)
      opening.value = false
    },
  })

  const link = createLink({
    dial: (query, told) => dial(`${query}${query ? '&' : '?'}items=${pageSize}`, told),
    conversation: () => conversation.value,
    event: receive,
    frame: player.play,
    changed: (state) => {
      connection.value = state
    },
    overflowed() {
      problem.value = 'The connection was away for too long. What you said meanwhile could not be kept.'
    },
  })

  function receive(event: ServerEvent): void {
    thread.follow(event, engines.value)
    switch (event.type) {
      case 'session.created':
        thread.breakOff()
        player.hush()
        if (!restarted) settle()
        restarted = false
        return begin(event.session)
      case 'session.updated': {
        const before = speech.value
        take(event.session)
        opening.value = false
        if (speech.value !== before) configure()
        return
      }
      case 'x.engines':
        engines.value = event.engines
        // A friend's that is away is waited for: nothing else is asked in its place.
        if (
          !event.engines.chat.models.includes(model.value ?? '') &&
          friendOf(model.value ?? '') === undefined
        )
          model.value = event.engines.chat.models.find((name) => friendOf(name) === undefined)
        return prefer(event.engines.chat.models)
      case 'x.conversation':
        conversation.value = event.id ?? undefined
        stored.value = event.id !== null
        title.value = event.title ?? undefined
        gone.value = event.id === null
        return
      case 'x.earlier':
        // A version of what is shown already has its beginning already.
        if (thread.list[0] === undefined || thread.list[0].id === event.before) earlier.value = event.before
        return
      case 'x.conversations':
        return conversations.receive(event)
      case 'x.timings':
        timings.value = event.timings
        return
      case 'x.duck':
        return player.duck(event.on)
      case 'x.hush':
        player.hush(event.item_id)
        return deps.interrupted()
      case 'conversation.item.input_audio_transcription.failed':
        problem.value = event.error.message
        return
      case 'error':
        return refused(event.error)
      default:
        return answered(event)
    }
  }

  function answered(event: ServerEvent): void {
    switch (event.type) {
      case 'response.created':
        // One that was stopped before it began stays so.
        answer.value = {
          id: event.response.id,
          speaking: false,
          stopped: answer.value?.id === undefined && Boolean(answer.value?.stopped),
        }
        timings.value = undefined
        return
      case 'response.content_part.added':
        if (event.x_stream !== undefined && current(event.response_id))
          player.announce(event.x_stream, event.item_id, event.content_index)
        return
      case 'response.output_text.delta':
        if (!current(event.response_id)) return
        answer.value!.speaking = true
        return deps.said(event.delta)
      case 'response.output_audio_transcript.delta':
        if (!current(event.response_id)) return
        answer.value!.speaking = true
        return player.write(event.item_id, event.delta)
      case 'response.output_audio.done':
      case 'response.content_part.done':
        return player.end(event.item_id)
      case 'response.done':
        return done(event.response)
    }
  }

  /** Whether it is the answer that is wanted. */
  function current(id: string): boolean {
    return answer.value?.id === id && !answer.value.stopped
  }

  function done({ id, status, status_details, output }: EventOf<'response.done'>['response']): void {
    for (const item of output) {
      player.end(item.id)
      // It was stopped here when the gateway had all of it made.
      const at = cut.get(item.id)
      if (at && status === 'completed') truncate(item.id, at.contentIndex, at.playedMs)
      cut.delete(item.id)
    }
    if (status === 'cancelled' && status_details?.reason === 'turn_detected') {
      for (const item of output) player.hush(item.id)
      deps.interrupted()
    }
    if (status === 'failed') problem.value = status_details?.error?.message ?? 'The answer failed.'
    if (answer.value?.id === id) settle()
  }

  function settle(): void {
    if (answer.value) deps.ended()
    answer.value = undefined
  }

  function refused(error: EventOf<'error'>['error']): void {
    if (harmless.has(error.code)) return
    problem.value = error.message
    if (answer.value?.asked !== undefined && error.event_id === answer.value.asked) settle()
  }

  function begin(session: EventOf<'session.created'>['session']): void {
    const known = session.x_conversation ?? undefined
    fresh = known !== conversation.value
    if (fresh && stored.value) gone.value = true
    if (gone.value) thread.clear()
    if (fresh) stored.value = false
    conversation.value = known
    take(session)
    configure()
  }

  function prefer(models: readonly string[]): void {
    const name = preferred.value
    const there = name !== undefined && name !== model.value && models.includes(name)
    if (fresh && there && mayBegin(name, models)) update({ model: name })
    fresh = false
  }

  function take(session: EventOf<'session.created'>['session']): void {
    caller.value = session.x_caller?.name ?? ''
    model.value = session.model ?? undefined
    speech.value = session.x_speech ?? null
    instructions.value = session.instructions
    thinking.value = session.x_thinking ?? null
  }

  /** Tells the gateway how this page talks. */
  function configure(): void {
    link.send({
      type: 'session.update',
      session: {
        type: 'realtime',
        output_modalities: speech.value !== null && !muted.value ? ['audio'] : ['text'],
        audio: {
          input: {
            turn_detection: handsFree.value
              ? { type: 'server_vad', silence_duration_ms: patiences[preferences.patience] }
              : null,
          },
          output: { voice: voice.value ?? 'default', speed: preferences.speed },
        },
      },
    })
  }

  /** Types a message and asks for its answer. */
  function say({ text, attachments }: Draft): void {
    const id = `item_${crypto.randomUUID()}`
    // Shown at once, also while the connection is away.
    thread.say({ id, text, attachments })
    const item = { id, type: 'message', role: 'user', content: contentOf({ text, attachments }) } as const
    link.send({ type: 'conversation.item.create', item })
    answerTyped()
  }

  /** Who types reads the answer while it is being written; who talks hears it. */
  function answerTyped(): void {
    ask(aloud.value ? undefined : ['text'])
  }

  function ask(modalities?: ['text']): void {
    problem.value = undefined
    gone.value = false
    asks += 1
    const asked = `ask_${asks}`
    answer.value = { asked, speaking: false, stopped: false }
    link.send({
      type: 'response.create',
      event_id: asked,
      ...(modalities && { response: { output_modalities: modalities } }),
    })
  }

  /** The turn of speech is over. */
  function commit(): void {
    link.send({ type: 'input_audio_buffer.commit' })
    ask()
  }

  /** What was said since the last turn is no turn. */
  function drop(): void {
    link.send({ type: 'input_audio_buffer.clear' })
  }

  /** Ends the answer that is on its way, and its sound at once. */
  function stop(): void {
    const cuts = player.hush()
    for (const { itemId, contentIndex, playedMs } of cuts) {
      played(itemId, playedMs)
      const message = thread.get(itemId)
      if (message) message.status = 'incomplete'
      if (answer.value) cut.set(itemId, { contentIndex, playedMs })
      else truncate(itemId, contentIndex, playedMs)
    }
    if (!answer.value || answer.value.stopped) return
    answer.value.stopped = true
    link.send({ type: 'response.cancel' })
  }

  function truncate(itemId: string, contentIndex: number, playedMs: number): void {
    link.send({
      type: 'conversation.item.truncate',
      item_id: itemId,
      content_index: contentIndex,
      audio_end_ms: playedMs,
    })
  }

  function played(itemId: string, playedMs: number): void {
    link.send({ type: 'x.playback', item_id: itemId, played_ms: playedMs })
  }

  function choose(name: string): void {
    if (mayBegin(name, engines.value?.chat.models ?? [])) preferred.value = name
    update({ model: name })
  }

  /** What the model is told before all else. */
  function instruct(text: string): void {
    instructions.value = text
    update({ instructions: text })
  }

  function think(on: boolean): void {
    thinking.value = on
    update({ x_thinking: on })
  }

  function update(session: EventFor<'session.update'>['session']): void {
    link.send({ type: 'session.update', session })
  }

  /**
   * Goes to another conversation, or to a new one. An answer that is on its way here is written to its end.
   * @param from where it is a version of this one: the first message that it has otherwise
   */
  function open(id?: string, from?: string): void {
    const code = answer.value ? leaving : 1000
    player.hush()
    settle()
    cut.clear()
    timings.value = problem.value = undefined
    gone.value = false
    if (from === undefined) {
      thread.clear()
      earlier.value = title.value = undefined
      instructions.value = ''
    } else thread.cut(from)
    opening.value = stored.value = id !== undefined
    conversation.value = id
    draw()
    restarted = true
    link.restart(code)
  }

  let loading: Promise<void> | undefined
  /** Brings the messages before the first. */
  function loadEarlier(): Promise<void> {
    loading ??= fetchEarlier().finally(() => (loading = undefined))
    return loading
  }

  async function fetchEarlier(): Promise<void> {
    const [id, before] = [conversation.value, earlier.value]
    if (id === undefined || before === undefined) return
    try {
      const query = new URLSearchParams({ before, limit: String(pageSize) })
      const page = await askGateway<ItemPage>('GET', `/sotto/conversations/${id}/items?${query}`)
      if (conversation.value !== id || earlier.value !== before) return
      earlier.value = page.earlier ? page.items[0]?.id : undefined
      thread.prepend(page.items)
      draw()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      problem.value = error.message || undefined
    }
  }

  function hurry(): void {
    if (document.visibilityState === 'visible') link.hurry()
  }

  watch([handsFree, muted, voice, () => [preferences.patience, preferences.speed]], configure)
  onMounted(() => {
    link.open()
    window.addEventListener('online', hurry)
    document.addEventListener('visibilitychange', hurry)
  })
  onBeforeUnmount(() => {
    link.close(answer.value ? leaving : 1000)
    window.removeEventListener('online', hurry)
    document.removeEventListener('visibilitychange', hurry)
  })
  return {
    connection,
    messages,
    engines,
    caller,
    model,
    conversation,
    title,
    instructions,
    thinking,
    opening,
    stored,
    earlier,
    gone,
    speech,
    answer,
    timings,
    problem,
    say,
    answerTyped,
    hear: link.sendSamples,
    commit,
    drop,
    stop,
    played,
    choose,
    instruct,
    think,
    open,
    loadEarlier,
  }
}

/** Files before what is asked about them. */
function contentOf({ text, attachments }: Draft): UserContent[] {
  const content = attachments.map((one): UserContent =>
    one.kind === 'picture'
      ? { type: 'input_image', image_url: one.url }
      : { type: 'input_text', text: one.text, x_name: one.name },
  )
  return text ? [...content, { type: 'input_text', text }] : content
}

function dial(query: string, { message, closed }: Parameters<LinkDeps['dial']>[1]): Wire {
  const socket = new WebSocket(useGateway().socket(`/v1/realtime${query}`), subprotocol)
  socket.binaryType = 'arraybuffer'
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => message(data)
  socket.onclose = closed
  return {
    send(data) {
      if (socket.readyState === WebSocket.OPEN) socket.send(data)
    },
    close(code) {
      socket.onmessage = socket.onclose = null
      socket.close(code)
    },
  }
}
