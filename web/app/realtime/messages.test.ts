import type { Item, MessageItem, ServerEventBody } from '@sotto/gateway/protocol/events.ts'
import { describe, expect, it } from 'vitest'
import { createMessages, type Messages } from './messages.ts'

describe('the messages', () => {
  it('show speech from its first sound, its words as they come, and what was truly said', () => {
    const messages = after(
      { type: 'input_audio_buffer.speech_started', audio_start_ms: 0, item_id: 'u' },
      { type: 'x.partial', item_id: 'u', tail: 'how fur' },
    )
    expect(show(messages)).toEqual(['user pending: (how fur)'])
    tell(messages, { ...words('u'), delta: 'how far ' }, { type: 'x.partial', item_id: 'u', tail: 'away' })
    expect(show(messages)).toEqual(['user pending: how far (away)'])
    tell(messages, added(speech('u', null)), done(speech('u', null)))
    expect(show(messages)).toEqual(['user pending: how far (away)'])
    tell(messages, heard('u', 'How far away is the moon?'))
    expect(show(messages)).toEqual(['user completed: How far away is the moon?'])
  })

  it('leave nothing of a noise that had no words, but say so where the turn was given by hand', () => {
    const messages = after(
      { type: 'input_audio_buffer.speech_started', audio_start_ms: 0, item_id: 'noise' },
      heard('noise', ''),
      { type: 'input_audio_buffer.committed', item_id: 'hand', previous_item_id: null },
      added(speech('hand', null)),
      heard('hand', ''),
      { type: 'conversation.item.deleted', item_id: 'hand' },
    )
    expect(show(messages)).toEqual(['user empty: '])
    tell(messages, { type: 'input_audio_buffer.speech_started', audio_start_ms: 0, item_id: 'next' })
    expect(show(messages)).toEqual(['user pending: '])
  })

  it('grow an answer by its captions, and cut it to what was heard', () => {
    const messages = after(
      added(answer('a', '', 'in_progress')),
      caption('a', 'It is far. '),
      caption('a', 'Very far.'),
      responseDone('completed', 'a'),
    )
    expect(show(messages)).toEqual(['assistant completed: It is far. Very far.'])
    tell(messages, { type: 'x.hush', item_id: 'a', audio_end_ms: 700 })
    expect(show(messages)).toEqual(['assistant incomplete: It is far. Very far.'])
    tell(messages, done(answer('a', 'It is far.', 'incomplete')))
    expect(show(messages)).toEqual(['assistant incomplete: It is far.'])
  })

  it('drop an answer that was stopped before its first word', () => {
    const messages = after(added(answer('a', '', 'in_progress')), responseDone('cancelled', 'a'))
    expect(messages.list).toEqual([])
  })

  it('put what another device said in its place, and once', () => {
    const messages = after(
      added(typed('one')),
      added(typed('three'), 'two'),
      added(typed('two'), 'one'),
      added(typed('two'), 'one'),
    )
    expect(messages.list.map(({ id }) => id)).toEqual(['one', 'two', 'three'])
  })

  it('end what was on its way when the session is gone, and all with the conversation', () => {
    const messages = after(added(answer('a', 'It', 'in_progress')))
    messages.breakOff()
    expect(show(messages)).toEqual(['assistant incomplete: It'])
    tell(messages, { type: 'x.conversation', id: null, title: null })
    expect(messages.list).toEqual([])
  })

  it('keep what is thought apart from what is said, and how long it took', () => {
    const messages = after(
      added(answer('a', '', 'in_progress')),
      thought('a', 'The moon '),
      thought('a', 'is far.'),
    )
    expect(messages.get('a')).toMatchObject({ reasoning: 'The moon is far.', thoughtMs: undefined, text: '' })
    tell(messages, caption('a', 'Far.'))
    expect(messages.get('a')?.thoughtMs).toBeGreaterThanOrEqual(0)
    expect(messages.get('a')).toMatchObject({ reasoning: 'The moon is far.', text: 'Far.' })
  })

  it('show files and pictures beside the words, and never as words', () => {
    const messages = after(
      added({
        ...typed('u'),
        content: [
          { type: 'input_text', text: 'x = 1', x_name: 'x.py' },
          { type: 'input_image' },
          { type: 'input_text', text: 'What is this?' },
        ],
      }),
    )
    expect(messages.get('u')).toMatchObject({
      text: 'What is this?',
      attachments: [
        { kind: 'file', name: 'x.py', text: 'x = 1' },
        { kind: 'picture', index: 1 },
      ],
    })
  })

  it('take in what came earlier, each once, and forget what another version has otherwise', () => {
    const messages = after(added(typed('three')), added(typed('four')))
    messages.prepend([typed('one'), typed('two'), typed('three')])
    expect(messages.list.map(({ id }) => id)).toEqual(['one', 'two', 'three', 'four'])
    messages.cut('three')
    expect(messages.list.map(({ id }) => id)).toEqual(['one', 'two'])
    tell(messages, added(typed('three'), 'two'))
    expect(messages.list.map(({ id }) => id)).toEqual(['one', 'two', 'three'])
  })
})

function tell(messages: Messages, ...events: ServerEventBody[]): void {
  for (const event of events) messages.follow({ event_id: 'e', ...event })
}

function after(...events: ServerEventBody[]): Messages {
  const messages = createMessages(() => {})
  tell(messages, ...events)
  return messages
}

const show = ({ list }: Messages): string[] =>
  list.map(({ role, status, text, tail }) => `${role} ${status}: ${text}${tail && `(${tail})`}`)

const words = (id: string) =>
  ({
    type: 'conversation.item.input_audio_transcription.delta',
    item_id: id,
    content_index: 0,
  }) as const

const heard = (id: string, transcript: string): ServerEventBody => ({
  type: 'conversation.item.input_audio_transcription.completed',
  item_id: id,
  content_index: 0,
  transcript,
  usage: { type: 'duration', seconds: 1 },
})

const message = { object: 'realtime.item', type: 'message' } as const

const speech = (id: string, transcript: string | null): Item => ({
  ...message,
  id,
  role: 'user',
  status: 'completed',
  content: [{ type: 'input_audio', transcript }],
})

const typed = (id: string): MessageItem => ({
  ...message,
  id,
  role: 'user',
  status: 'completed',
  content: [{ type: 'input_text', text: id }],
})

const answer = (id: string, transcript: string, status: Item['status']): Item => ({
  ...message,
  id,
  role: 'assistant',
  status,
  content: transcript ? [{ type: 'output_audio', transcript }] : [],
})

const added = (item: Item, before: string | null = null): ServerEventBody => ({
  type: 'conversation.item.added',
  item,
  previous_item_id: before,
})

const done = (item: Item): ServerEventBody => ({
  type: 'conversation.item.done',
  item,
  previous_item_id: null,
})

const caption = (id: string, delta: string): ServerEventBody => ({
  type: 'response.output_audio_transcript.delta',
  response_id: 'r',
  item_id: id,
  output_index: 0,
  content_index: 0,
  delta,
})

const thought = (id: string, delta: string): ServerEventBody => ({
  type: 'x.reasoning.delta',
  response_id: 'r',
  item_id: id,
  output_index: 0,
  delta,
})

const responseDone = (status: 'completed' | 'cancelled', id: string): ServerEventBody => ({
  type: 'response.done',
  response: {
    id: 'r',
    object: 'realtime.response',
    conversation_id: null,
    status,
    status_details: null,
    output: [answer(id, '', 'incomplete')],
    output_modalities: ['audio'],
    metadata: null,
    usage: null,
  },
})
