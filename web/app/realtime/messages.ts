/** What was said, as the page shows it, kept up by the gateway's events: ours, and those of our other devices. */
import type { Content, EngineStates, Item, ServerEvent } from '@sotto/gateway/protocol/events.ts'

export interface Message {
  readonly id: string
  readonly role: 'user' | 'assistant'
  text: string
  /** Words heard after `text`, which may change yet. */
  tail: string
  /**
   * `pending`: speech that is being said or understood. `empty`: a turn that was given by hand and had no
   * words. `incomplete`: an answer that was stopped, or speech that could not be understood.
   */
  status: 'pending' | 'streaming' | 'completed' | 'incomplete' | 'empty'
  readonly spoken: boolean
  /** Whether the gateway itself heard where the speech began, hands-free. */
  readonly detected: boolean
  /** Whether the demo engine wrote it. */
  readonly demo: boolean
}

/** Brings the messages up to date with an event. */
export function follow(messages: Message[], event: ServerEvent, engines?: EngineStates): void {
  const find = (id: string): Message | undefined => messages.findLast((message) => message.id === id)
  const change = (id: string, state: Partial<Pick<Message, 'text' | 'tail' | 'status'>>): void => {
    const message = find(id)
    if (message) Object.assign(message, state)
  }
  const remove = (id: string): void => {
    const at = messages.findIndex((message) => message.id === id)
    // That nothing was heard stays said, although the item is gone.
    if (at !== -1 && messages[at]?.status !== 'empty') messages.splice(at, 1)
  }
  const hear = (id: string, detected: boolean): Message => {
    const known = find(id)
    if (known) return known
    forgetEmpty(messages)
    messages.push(newMessage({ id, role: 'user', spoken: true, detected, engines }))
    return messages.at(-1)!
  }
  switch (event.type) {
    case 'input_audio_buffer.speech_started':
      hear(event.item_id, true)
      return
    case 'input_audio_buffer.committed':
      hear(event.item_id, false)
      return
    case 'x.partial':
      hear(event.item_id, true).tail = event.tail
      return
    case 'conversation.item.input_audio_transcription.delta': {
      const message = hear(event.item_id, true)
      message.text += event.delta
      message.tail = ''
      return
    }
    case 'conversation.item.input_audio_transcription.completed': {
      const { transcript } = event
      if (!transcript && find(event.item_id)?.detected) return remove(event.item_id)
      return change(event.item_id, {
        text: transcript,
        tail: '',
        status: transcript ? 'completed' : 'empty',
      })
    }
    case 'conversation.item.input_audio_transcription.failed':
      return change(event.item_id, { tail: '', status: 'incomplete' })
    case 'conversation.item.added':
    case 'conversation.item.done':
    case 'conversation.item.retrieved':
      return put(messages, event.item, 'previous_item_id' in event ? event.previous_item_id : null, engines)
    case 'conversation.item.truncated':
    case 'x.hush':
      return change(event.item_id, { status: 'incomplete' })
    case 'conversation.item.deleted':
      return remove(event.item_id)
    case 'response.output_text.delta':
    case 'response.output_audio_transcript.delta': {
      const message = find(event.item_id)
      if (message) message.text += event.delta
      return
    }
    case 'response.done':
      for (const { id } of event.response.output) {
        const message = find(id)
        if (message && message.status !== 'incomplete')
          message.status = event.response.status === 'completed' ? 'completed' : 'incomplete'
        if (message?.status === 'incomplete' && !message.text) remove(id)
      }
      return
    case 'x.conversation':
      if (event.id === null) messages.length = 0
  }
}

/** The session is gone: what was on its way can't come any more. */
export function breakOff(messages: Message[]): void {
  for (const message of messages)
    if (message.status === 'pending' || message.status === 'streaming')
      Object.assign(message, { tail: '', status: 'incomplete' })
}

function put(
  messages: Message[],
  item: Item,
  before: string | null,
  engines: EngineStates | undefined,
): void {
  if (item.type !== 'message' || item.role === 'system') return
  const { id, role } = item
  const text = item.content.map(textOf).join('')
  const spoken = role === 'user' && item.content.some(({ type }) => type === 'input_audio')
  const known = messages.findLast((message) => message.id === id)
  // Speech is an item before its words are known, and an answer before its first.
  const pending = spoken && !text
  if (known) {
    if (!text) return
    known.text = text
    if (!known.spoken || item.status !== 'in_progress') known.status = statusOf(item.status)
    return
  }
  const status = pending ? 'pending' : statusOf(item.status)
  if (role === 'user') forgetEmpty(messages)
  const after = messages.findLastIndex((message) => message.id === before)
  messages.splice(
    after === -1 ? messages.length : after + 1,
    0,
    newMessage({ id, role, text, status, spoken, engines }),
  )
}

function newMessage({
  engines,
  ...message
}: Pick<Message, 'id' | 'role' | 'spoken'> &
  Partial<Message> & { engines: EngineStates | undefined }): Message {
  const engine = message.role === 'assistant' ? engines?.chat : message.spoken && engines?.transcription
  return {
    text: '',
    tail: '',
    status: 'pending',
    detected: false,
    demo: Boolean(engine && engine.kind === 'demo'),
    ...message,
  }
}

/** That nothing was heard is said until something is. */
function forgetEmpty(messages: Message[]): void {
  const at = messages.findIndex(({ status }) => status === 'empty')
  if (at !== -1) messages.splice(at, 1)
}

function statusOf(status: Item['status']): Message['status'] {
  return status === 'in_progress' ? 'streaming' : status
}

function textOf(content: Content): string {
  if ('text' in content) return content.text
  return 'transcript' in content ? (content.transcript ?? '') : ''
}
