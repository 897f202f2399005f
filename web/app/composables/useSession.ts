import type { EngineStates, ServerEvent, Timings } from '@sotto/gateway/protocol/events.ts'
import { subprotocol } from '@sotto/gateway/protocol/frame.ts'
import { createLink, type Connection, type LinkDeps, type Wire } from '~/realtime/link'
import { breakOff, follow, type Message } from '~/realtime/messages'
import type { Player } from './usePlayer'

export interface SessionDeps {
  readonly player: Player
  /** The gateway tells by itself where a turn begins and ends. */
  readonly handsFree: Ref<boolean>
  /** Answers are wanted as text alone. */
  readonly muted: Ref<boolean>
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

/** Refusals of what came too late to matter. */
const harmless = new Set(['response_cancel_not_active', 'item_exists'])

type EventOf<T extends ServerEvent['type']> = Extract<ServerEvent, { type: T }>

/** The conversation with the gateway. Opened by the caller's mount, closed with it. */
export function useSession(deps: SessionDeps) {
  const { player, handsFree, muted } = deps
  const connection = ref<Connection>('connecting')
  const messages = ref<Message[]>([])
  const engines = ref<EngineStates>()
  const caller = ref('')
  const model = ref<string>()
  /** What speaks the answers at the gateway; null where nothing does. */
  const speech = ref<string | null>(null)
  const answer = ref<Answer>()
  const timings = ref<Timings>()
  const problem = ref<string>()
  let conversation: string | undefined
  let chosen: string | undefined
  let asks = 0
  /** Where answers were stopped here that the gateway holds for whole, by their item. */
  const cut = new Map<string, { readonly contentIndex: number; readonly playedMs: number }>()

  const link = createLink({
    dial,
    conversation: () => conversation,
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
    follow(messages.value, event, engines.value)
    switch (event.type) {
      case 'session.created':
        breakOff(messages.value)
        player.hush()
        settle()
        take(event.session)
        return configure()
      case 'session.updated': {
        const before = speech.value
        take(event.session)
        if (speech.value !== before) configure()
        return
      }
      case 'x.engines':
        engines.value = event.engines
        if (!model.value || !event.engines.chat.models.includes(model.value))
          model.value = event.engines.chat.models[0]
        return
      case 'x.conversation':
        conversation = event.id ?? undefined
        return
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
        if (current(event.response_id)) answer.value!.speaking = true
        return
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

  function take(session: EventOf<'session.created'>['session']): void {
    caller.value = session.x_caller?.name ?? ''
    model.value = session.model ?? undefined
    speech.value = session.x_speech ?? null
    conversation = session.x_conversation ?? conversation
  }

  /** Tells the gateway how this page talks. */
  function configure(): void {
    link.send({
      type: 'session.update',
      session: {
        type: 'realtime',
        ...(chosen !== undefined && { model: chosen }),
        output_modalities: speech.value !== null && !muted.value ? ['audio'] : ['text'],
        audio: { input: { turn_detection: handsFree.value ? { type: 'server_vad' } : null } },
      },
    })
  }

  /** Types a message and asks for its answer. */
  function say(text: string): void {
    const id = `item_${crypto.randomUUID()}`
    const item = {
      type: 'message',
      role: 'user',
      content: [{ type: 'input_text', text }],
    } as const
    // Shown at once, also while the connection is away.
    messages.value.push({
      id,
      role: 'user',
      text,
      tail: '',
      status: 'completed',
      spoken: false,
      detected: false,
      demo: false,
    })
    link.send({ type: 'conversation.item.create', item: { ...item, id, content: [...item.content] } })
    // Who types reads the answer while it is being written; who talks hears it.
    ask(handsFree.value ? undefined : ['text'])
  }

  function ask(modalities?: ['text']): void {
    problem.value = undefined
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
      const message = messages.value.findLast(({ id }) => id === itemId)
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
    chosen = name
    configure()
  }

  function hurry(): void {
    if (document.visibilityState === 'visible') link.hurry()
  }

  watch([handsFree, muted], configure)
  onMounted(() => {
    link.open()
    window.addEventListener('online', hurry)
    document.addEventListener('visibilitychange', hurry)
  })
  onBeforeUnmount(() => {
    link.close()
    window.removeEventListener('online', hurry)
    document.removeEventListener('visibilitychange', hurry)
  })
  return {
    connection,
    messages,
    engines,
    caller,
    model,
    speech,
    answer,
    timings,
    problem,
    say,
    hear: link.sendSamples,
    commit,
    drop,
    stop,
    played,
    choose,
  }
}

function dial(query: string, { message, closed }: Parameters<LinkDeps['dial']>[1]): Wire {
  const { wsUrl } = useRuntimeConfig().public
  const socket = new WebSocket(`${wsUrl || `wss://${location.host}`}/v1/realtime${query}`, subprotocol)
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
