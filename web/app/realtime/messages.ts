/** What was said, as the page shows it, kept up by the gateway's events: ours, and those of our other devices. */
import { shallowReactive } from 'vue'
import type { Content, EngineStates, Item, MessageItem, ServerEvent } from '@sotto/gateway/protocol/events.ts'

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
  /** What the model thought before it answered. */
  reasoning: string
  /** How long it thought, where this page saw it. */
  thoughtMs: number | undefined
  readonly attachments: readonly Attachment[]
  readonly spoken: boolean
  /** Whether the gateway itself heard where the speech began, hands-free. */
  readonly detected: boolean
  /** Whether the demo engine wrote it. */
  readonly demo: boolean
}

export type Attachment =
  /** `index` is its place in the item; without `url` the gateway has the picture. */
  | { readonly kind: 'picture'; readonly index: number; readonly url?: string }
  | { readonly kind: 'file'; readonly name: string; readonly text: string }

/** The messages of one conversation, or of its end. Whatever an event changes is found at once, however many there are. */
export interface Messages {
  /** In order; the same array all the time. What changes within a message, Vue sees there. */
  readonly list: readonly Message[]
  get(id: string): Message | undefined
  follow(event: ServerEvent, engines?: EngineStates): void
  /** What is said here, shown before the gateway has it. */
  say(message: Pick<Message, 'id' | 'text' | 'attachments'>): void
  /** What came before all others; in order. */
  prepend(items: readonly Item[]): void
  /** Forgets a message and all after it. */
  cut(from: string): void
  clear(): void
  /** The session is gone: what was on its way can't come any more. */
  breakOff(): void
}

/** @param changed called when a message has come or gone */
export function createMessages(changed: () => void): Messages {
  const list: Message[] = []
  const known = new Map<string, Message>()
  /** When the answers that are being thought about began to be. */
  const thinking = new Map<string, number>()
  /** That nothing was heard is said until something is. */
  let empty: Message | undefined

  const add = (message: Message, after?: string | null): Message => {
    if (message.role === 'user' && empty) drop(empty)
    const before = known.get(after ?? '')
    const at = before && before !== list.at(-1) ? list.lastIndexOf(before) + 1 : list.length
    list.splice(at, 0, message)
    known.set(message.id, message)
    changed()
    return message
  }
  const drop = (message: Message): void => {
    list.splice(list.lastIndexOf(message), 1)
    forget(message)
    changed()
  }
  const forget = (message: Message): void => {
    known.delete(message.id)
    thinking.delete(message.id)
    if (message === empty) empty = undefined
  }
  const change = (id: string, state: Partial<Pick<Message, 'text' | 'tail' | 'status'>>): void => {
    const message = known.get(id)
    if (message) Object.assign(message, state)
  }
  const remove = (id: string): void => {
    const message = known.get(id)
    // That nothing was heard stays said, although the item is gone.
    if (message && message !== empty) drop(message)
  }
  const hear = (id: string, detected: boolean, engines: EngineStates | undefined): Message =>
    known.get(id) ?? add(newMessage({ id, role: 'user', spoken: true, detected, engines }))
  const heard = (id: string, transcript: string): void => {
    const message = known.get(id)
    if (!message) return
    if (!transcript && message.detected) return drop(message)
    if (!transcript) empty = message
    Object.assign(message, { text: transcript, tail: '', status: transcript ? 'completed' : 'empty' })
  }
  const think = (id: string, delta: string): void => {
    const message = known.get(id)
    if (!message) return
    if (!thinking.has(id)) thinking.set(id, performance.now())
    message.reasoning += delta
  }
  const write = (id: string, delta: string): void => {
    const message = known.get(id)
    if (!message) return
    thought(message)
    message.text += delta
  }
  const thought = (message: Message): void => {
    const since = thinking.get(message.id)
    if (since === undefined) return
    message.thoughtMs = performance.now() - since
    thinking.delete(message.id)
  }
  const end = (id: string, status: 'completed' | 'incomplete'): void => {
    const message = known.get(id)
    if (!message) return
    thought(message)
    if (message.status !== 'incomplete') message.status = status
    if (message.status === 'incomplete' && !message.text && !message.reasoning) drop(message)
  }
  const put = (item: Item, after: string | null, engines: EngineStates | undefined): void => {
    if (!isShown(item)) return
    const message = known.get(item.id)
    if (!message) {
      add(messageOf(item, engines), after)
      return
    }
    const text = textOf(item)
    if (item.x_reasoning) message.reasoning = item.x_reasoning
    if (!text) return
    message.text = text
    if (!message.spoken || item.status !== 'in_progress') message.status = statusOf(item.status)
  }
  const clear = (): void => {
    list.length = 0
    known.clear()
    thinking.clear()
    empty = undefined
    changed()
  }

  return {
    list,
    get: (id) => known.get(id),
    follow(event, engines) {
      switch (event.type) {
        case 'input_audio_buffer.speech_started':
          hear(event.item_id, true, engines)
          return
        case 'input_audio_buffer.committed':
          hear(event.item_id, false, engines)
          return
        case 'x.partial':
          hear(event.item_id, true, engines).tail = event.tail
          return
        case 'conversation.item.input_audio_transcription.delta': {
          const message = hear(event.item_id, true, engines)
          message.text += event.delta
          message.tail = ''
          return
        }
        case 'conversation.item.input_audio_transcription.completed':
          return heard(event.item_id, event.transcript)
        case 'conversation.item.input_audio_transcription.failed':
          return change(event.item_id, { tail: '', status: 'incomplete' })
        case 'conversation.item.added':
        case 'conversation.item.done':
        case 'conversation.item.retrieved':
          return put(event.item, 'previous_item_id' in event ? event.previous_item_id : null, engines)
        case 'conversation.item.truncated':
        case 'x.hush':
          return change(event.item_id, { status: 'incomplete' })
        case 'conversation.item.deleted':
          return remove(event.item_id)
        case 'x.reasoning.delta':
          return think(event.item_id, event.delta)
        case 'response.output_text.delta':
        case 'response.output_audio_transcript.delta':
          return write(event.item_id, event.delta)
        case 'response.done':
          for (const { id } of event.response.output)
            end(id, event.response.status === 'completed' ? 'completed' : 'incomplete')
          return
        case 'x.conversation':
          if (event.id === null) clear()
      }
    },
    say(message) {
      add(newMessage({ ...message, role: 'user', status: 'completed', spoken: false, engines: undefined }))
    },
    prepend(items) {
      const earlier = items
        .filter(isShown)
        .filter(({ id }) => !known.has(id))
        .map((item) => messageOf(item, undefined))
      for (const message of earlier) known.set(message.id, message)
      list.unshift(...earlier)
      changed()
    },
    cut(from) {
      const message = known.get(from)
      if (!message) return
      for (const gone of list.splice(list.lastIndexOf(message))) forget(gone)
      changed()
    },
    clear,
    breakOff() {
      thinking.clear()
      for (const message of list)
        if (message.status === 'pending' || message.status === 'streaming')
          Object.assign(message, { tail: '', status: 'incomplete' })
    },
  }
}

function isShown(item: Item): item is MessageItem & { readonly role: Message['role'] } {
  return item.type === 'message' && item.role !== 'system'
}

function messageOf(item: MessageItem & { readonly role: Message['role'] }, engines?: EngineStates): Message {
  const { id, role, content } = item
  const text = textOf(item)
  const spoken = role === 'user' && content.some(({ type }) => type === 'input_audio')
  return newMessage({
    id,
    role,
    text,
    spoken,
    engines,
    reasoning: item.x_reasoning ?? '',
    // Speech is an item before its words are known, and an answer before its first.
    status: spoken && !text ? 'pending' : statusOf(item.status),
    attachments: content.flatMap(attached),
  })
}

function newMessage({
  engines,
  ...message
}: Pick<Message, 'id' | 'role' | 'spoken'> &
  Partial<Message> & { engines: EngineStates | undefined }): Message {
  const engine = message.role === 'assistant' ? engines?.chat : message.spoken && engines?.transcription
  return shallowReactive({
    text: '',
    tail: '',
    status: 'pending',
    reasoning: '',
    thoughtMs: undefined,
    attachments: [],
    detected: false,
    demo: Boolean(engine && engine.kind === 'demo'),
    ...message,
  })
}

function statusOf(status: Item['status']): Message['status'] {
  return status === 'in_progress' ? 'streaming' : status
}

/** What was said or written; not the text of a file that is with it. */
function textOf({ content }: MessageItem): string {
  return content.map(wordsOf).join('')
}

function wordsOf(content: Content): string {
  if ('text' in content) return 'x_name' in content ? '' : content.text
  return 'transcript' in content ? (content.transcript ?? '') : ''
}

function attached(content: Content, index: number): Attachment[] {
  if (content.type === 'input_image')
    return [{ kind: 'picture', index, ...(content.image_url !== undefined && { url: content.image_url }) }]
  if (content.type === 'input_text' && content.x_name !== undefined)
    return [{ kind: 'file', name: content.x_name, text: content.text }]
  return []
}
