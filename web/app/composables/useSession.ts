import type { ClientEvent, EngineStates, ServerEvent } from '@sotto/gateway/protocol/events.ts'
import { encodeFrame, subprotocol } from '@sotto/gateway/protocol/frame.ts'

/** A message as the page shows it. */
export interface Message {
  readonly id: string
  readonly role: 'user' | 'assistant'
  text: string
  /** `pending`: speech whose words are not known yet. `empty`: speech without words. */
  status: 'pending' | 'streaming' | 'completed' | 'incomplete' | 'empty'
  readonly spoken: boolean
  /** Whether the demo engine wrote it. */
  readonly demo: boolean
}

export interface SessionHooks {
  /** A piece of the answer came. */
  said(delta: string): void
  /** The answer is over. */
  ended(): void
}

/** A lost connection is tried again at once, then ever slower, up to this. */
const slowestRetryMs = 8_000

/** The socket to the gateway and the conversation on it. Opened by the caller's mount, closed with it. */
export function useSession(hooks: SessionHooks) {
  const connection = ref<'connecting' | 'open' | 'reconnecting'>('connecting')
  const messages = ref<Message[]>([])
  const engines = ref<EngineStates>()
  const caller = ref('')
  const model = ref<string>()
  /** The answer that is on its way. */
  const response = ref<{ id?: string; speaking: boolean }>()
  const problem = ref<string>()
  let socket: WebSocket | undefined
  let retry: ReturnType<typeof setTimeout> | undefined
  let attempts = 0
  let offset = 0
  let closed = false

  function open(): void {
    const { wsUrl } = useRuntimeConfig().public
    socket = new WebSocket(`${wsUrl || `wss://${location.host}`}/v1/realtime`, subprotocol)
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => {
      attempts = 0
      connection.value = 'open'
    }
    socket.onmessage = ({ data }) => {
      if (typeof data === 'string') receive(JSON.parse(data))
    }
    socket.onclose = () => {
      if (closed) return
      connection.value = 'reconnecting'
      breakOff()
      retry = setTimeout(open, Math.min(slowestRetryMs, 250 * 2 ** attempts) * (0.75 + Math.random() / 2))
      attempts += 1
    }
  }

  function close(): void {
    closed = true
    clearTimeout(retry)
    socket?.close()
  }

  function send(event: ClientEvent): void {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(event))
  }

  /** What was on its way when the connection went can't come any more. */
  function breakOff(): void {
    offset = 0
    for (const message of messages.value)
      if (message.status === 'pending' || message.status === 'streaming') message.status = 'incomplete'
    if (response.value) hooks.ended()
    response.value = undefined
  }

  function receive(event: ServerEvent): void {
    switch (event.type) {
      case 'session.created':
      case 'session.updated':
        caller.value = event.session.x_caller.name
        model.value = event.session.model ?? undefined
        return
      case 'x.engines':
        engines.value = event.engines
        if (!model.value || !event.engines.chat.models.includes(model.value))
          model.value = event.engines.chat.models[0]
        return
      case 'conversation.item.added':
        return added(event.item)
      case 'conversation.item.input_audio_transcription.completed':
        return change(event.item_id, {
          text: event.transcript,
          status: event.transcript ? 'completed' : 'empty',
        })
      case 'conversation.item.input_audio_transcription.failed':
        problem.value = event.error.message
        return change(event.item_id, { status: 'incomplete' })
      case 'response.created':
        response.value = { id: event.response.id, speaking: false }
        return
      case 'response.output_text.delta':
        if (response.value) response.value.speaking = true
        find(event.item_id)!.text += event.delta
        return hooks.said(event.delta)
      case 'response.done':
        return done(event.response)
      case 'error':
        problem.value = event.error.message
    }
  }

  function added(item: Extract<ServerEvent, { type: 'conversation.item.added' }>['item']): void {
    const spoken = item.content.some((content) => content.type === 'input_audio')
    messages.value.push({
      id: item.id,
      role: item.role,
      text: item.content
        .map((content) => (content.type === 'input_audio' ? content.transcript : content.text) ?? '')
        .join(''),
      status: spoken ? 'pending' : item.role === 'assistant' ? 'streaming' : 'completed',
      spoken,
      demo:
        (spoken
          ? engines.value?.transcription.kind
          : item.role === 'assistant'
            ? engines.value?.chat.kind
            : undefined) === 'demo',
    })
  }

  function done({
    status,
    status_details,
    output,
  }: Extract<ServerEvent, { type: 'response.done' }>['response']): void {
    for (const item of output)
      change(item.id, { status: status === 'completed' ? 'completed' : 'incomplete' })
    if (status === 'failed') problem.value = status_details?.error?.message ?? 'The answer failed.'
    response.value = undefined
    hooks.ended()
  }

  function find(id: string): Message | undefined {
    return messages.value.findLast((message) => message.id === id)
  }

  function change(id: string, state: Partial<Pick<Message, 'text' | 'status'>>): void {
    const message = find(id)
    if (message) Object.assign(message, state)
  }

  /** Types a message and asks for its answer. */
  function say(text: string): void {
    problem.value = undefined
    send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
    })
    ask()
  }

  function ask(): void {
    response.value = { speaking: false }
    send({ type: 'response.create' })
  }

  /** One piece of microphone audio: 16 kHz, mono. */
  function hear(samples: Int16Array): void {
    if (socket?.readyState !== WebSocket.OPEN) return
    socket.send(encodeFrame({ offset, samples }))
    offset += samples.length
  }

  /** The turn of speech is over; too short a one is dropped. */
  function heard(): void {
    const spoke = offset >= 1_600
    offset = 0
    if (!spoke) return send({ type: 'input_audio_buffer.clear' })
    problem.value = undefined
    send({ type: 'input_audio_buffer.commit' })
    ask()
  }

  /** Ends the answer that is on its way. */
  function stop(): void {
    if (response.value) send({ type: 'response.cancel' })
  }

  function choose(name: string): void {
    send({ type: 'session.update', session: { model: name } })
  }

  onMounted(open)
  onBeforeUnmount(close)
  return { connection, messages, engines, caller, model, response, problem, say, hear, heard, stop, choose }
}
