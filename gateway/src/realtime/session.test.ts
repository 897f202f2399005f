import { afterEach, describe, expect, it } from 'vitest'
import type { ChatWish } from '#engines/engine.ts'
import type { ClientEventInput, ResponseWish, SessionUpdate } from '#protocol/events.ts'
import { encodeFrame } from '#protocol/frame.ts'
import { Failure } from '../failure.ts'
import { connectTalk, serveTalk, silence, speech, states, type Script } from './talk.fixture.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A client of ours, for text, that says itself when a turn is over. */
async function open(script: Script = {}, query = '') {
  const talk = await serveTalk(script)
  const client = await connectTalk(talk, { query })
  closers.push(talk.close, () => client.socket.terminate())
  await client.until('x.engines')
  await client.byHand()
  await client.asText()
  return { talk, ...client }
}

async function* hello() {
  yield 'Hel'
  yield 'lo.'
}

/** Goes on until it is told to stop. */
async function* endless(_wish: ChatWish, signal: AbortSignal) {
  yield 'On and on'
  await new Promise((_settle, fail) => signal.addEventListener('abort', () => fail(signal.reason as Error)))
}

const say = (text: string): ClientEventInput => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
})
const respond: ClientEventInput = { type: 'response.create' }
const commit: ClientEventInput = { type: 'input_audio_buffer.commit' }

describe('a session', () => {
  it('says at once who it takes the caller for and which engines there are', async () => {
    const { events } = await open()
    expect(events.slice(0, 2)).toMatchObject([
      { type: 'session.created', session: { model: 'tiny', x_caller: { kind: 'host' }, x_speech: 'openai' } },
      { type: 'x.engines', engines: states },
    ])
    for (const event of events) expect(event.event_id).toMatch(/^event_/)
  })

  it('tells when an engine comes or goes', async () => {
    const { talk, all } = await open()
    talk.change({ ...states, chat: { kind: 'demo', ready: true, models: [] } })
    await expect.poll(() => all('x.engines').at(-1)).toMatchObject({ engines: { chat: { kind: 'demo' } } })
  })

  it('answers what is typed, in the order of the Realtime events, and remembers it', async () => {
    const { talk, send, until, types } = await open({ chat: hello })
    const before = types().length
    send(say('hi'))
    send(respond)
    const { response } = await until('response.done')
    expect(response).toMatchObject({
      status: 'completed',
      output: [{ role: 'assistant', content: [{ type: 'output_text', text: 'Hello.' }] }],
      usage: { total_tokens: 10, input_tokens: 7, output_tokens: 3 },
    })
    expect(types().slice(before)).toEqual([
      'conversation.item.added',
      'conversation.item.done',
      'response.created',
      'response.output_item.added',
      'conversation.item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'conversation.item.done',
      'response.done',
    ])
    send(say('again'))
    send(respond)
    await expect.poll(() => talk.chats.length).toBe(2)
    expect(talk.chats[1]?.messages).toEqual([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'Hello.' },
      { role: 'user', content: 'again' },
    ])
  })

  it('shows what the model thinks, keeps it, and never tells it to a model again, or says it', async () => {
    const thinking: Script = {
      async *chat() {
        yield { reasoning: 'They greet me. ' }
        yield { reasoning: 'I greet back.' }
        yield 'Hello.'
      },
    }
    const { talk, all, send, until, types } = await open(thinking)
    send(say('hi'))
    send(respond)
    const { response } = await until('response.done')
    const [answer] = response.output
    expect(answer).toMatchObject({
      content: [{ text: 'Hello.' }],
      x_reasoning: 'They greet me. I greet back.',
    })
    const added = types().indexOf('response.output_item.added')
    expect(all('x.reasoning.delta')).toMatchObject([
      { delta: 'They greet me. ', item_id: answer?.id, output_index: 0 },
      { delta: 'I greet back.' },
    ])
    expect(types().indexOf('response.output_text.delta')).toBeGreaterThan(added)
    send(say('again'))
    send(respond)
    await expect.poll(() => talk.chats.length).toBe(2)
    expect(JSON.stringify(talk.chats[1])).not.toContain('greet')
    await until('response.done', 2)
    expect(await talk.conversations.search('host', 'greet')).toEqual([])
    const stored = await talk.conversations.read(
      'host',
      (await until('session.created')).session.x_conversation ?? '',
    )
    expect(stored.items[1]).toEqual(answer)
    send({ type: 'session.update', session: { output_modalities: ['audio'] } })
    send(respond)
    await until('response.done', 3)
    expect(talk.spoken.join('')).toBe('Hello.')
  })

  it('lets no stock client know what the model thinks', async () => {
    const talk = await serveTalk({
      async *chat() {
        yield { reasoning: 'They greet me.' }
        yield 'Hello.'
      },
    })
    const stock = await connectTalk(talk, { protocol: 'realtime' })
    closers.push(talk.close, () => stock.socket.terminate())
    stock.send(say('hi'))
    stock.send(respond)
    await stock.until('response.done')
    expect(JSON.stringify(stock.events)).not.toMatch(/greet|"x[._]/)
  })

  it('lets a model think where it is asked to, and not while somebody listens', async () => {
    const { talk, send, until } = await open()
    const thought = async (session: SessionUpdate, response: ResponseWish = {}) => {
      send({ type: 'session.update', session })
      send(say('hi'))
      send({ type: 'response.create', response })
      const count = talk.chats.length + 1
      await until('response.done', count)
      return talk.chats.at(-1)?.think
    }
    expect(await thought({})).toBeUndefined()
    expect(await thought({ x_thinking: true })).toBe(true)
    expect(await thought({ x_thinking: null }, { x_thinking: false })).toBe(false)
    expect(await thought({ output_modalities: ['audio'] })).toBe(false)
    expect(await thought({ x_thinking: true })).toBe(true)
    expect((await until('session.updated', 7)).session).toMatchObject({ x_thinking: true })
  })

  it('reads files by their names', async () => {
    const { talk, all, send, until } = await open()
    send({
      type: 'conversation.item.create',
      item: {
        type: 'message',
        role: 'user',
        content: [
          { type: 'input_text', text: 'milk\neggs', x_name: 'shopping\nlist.txt' },
          { type: 'input_text', text: 'What is missing?' },
        ],
      },
    })
    send(respond)
    await until('response.done')
    expect(talk.chats[0]?.messages).toEqual([
      { role: 'user', content: '# shopping list.txt\nmilk\neggs\n\nWhat is missing?' },
    ])
    expect(all('conversation.item.done')[0]?.item).toMatchObject({
      content: [{ text: 'milk\neggs', x_name: 'shopping\nlist.txt' }, { text: 'What is missing?' }],
    })
    expect(all('x.conversation').at(-1)).toMatchObject({ title: 'What is missing?' })
    const found = () => talk.conversations.search('host', 'shopping')
    await expect.poll(found, { timeout: 10_000 }).toHaveLength(1)
  })

  it('shows no picture to a model that sees none, and says which do', async () => {
    const { talk, send, until } = await open()
    const details = { thinking: false, contextTokens: null }
    const knows = { tiny: { ...details, vision: false }, large: { ...details, vision: true } }
    talk.change({ ...states, chat: { ...states.chat, details: knows } })
    const show: ClientEventInput = {
      type: 'conversation.item.create',
      item: {
        type: 'message',
        role: 'user',
        content: [
          { type: 'input_text', text: 'What is this?' },
          { type: 'input_image', image_url: 'data:image/png;base64,aGk=' },
        ],
      },
    }
    send(show)
    expect((await until('error')).error).toMatchObject({
      code: 'model_without_vision',
      message: '“tiny” can’t see pictures. Choose one that can: large.',
    })
    send({ type: 'session.update', session: { model: 'large' } })
    send(show)
    send(respond)
    await until('response.done')
    send({ type: 'session.update', session: { model: 'tiny' } })
    send(respond)
    await until('response.done', 2)
    expect(talk.chats.map(({ messages }) => messages[0])).toEqual([
      { role: 'user', content: 'What is this?', images: ['aGk='] },
      { role: 'user', content: 'What is this?\n[picture]' },
    ])
  })

  it('hears a turn of speech whole, and answers its words', async () => {
    const { talk, send, speak, until } = await open({ chat: hello })
    speak(speech(100), speech(100))
    send(commit)
    send(respond)
    expect(await until('conversation.item.input_audio_transcription.completed')).toMatchObject({
      transcript: 'what is said',
      usage: { type: 'duration', seconds: 0.2 },
    })
    await until('response.done')
    expect(talk.recordings.map((samples) => [samples.length, samples[0]])).toEqual([[3_200, 8_000]])
    expect(talk.chats[0]?.messages).toEqual([{ role: 'user', content: 'what is said' }])
  })

  it('neither asks Whisper about silence, which invents words for it (OpenWhispr 1458), nor answers it', async () => {
    const { talk, send, speak, until } = await open()
    speak(silence(1_000))
    send(commit)
    send(respond)
    expect((await until('response.done')).response).toMatchObject({
      status: 'incomplete',
      status_details: { reason: 'empty_input' },
      output: [],
    })
    expect([talk.recordings, talk.chats]).toEqual([[], []])
  })

  it('says that a recording could not be transcribed, and goes on', async () => {
    const { send, speak, until, all } = await open({
      hear() {
        throw new Failure('unavailable', 'Whisper does not answer.')
      },
    })
    speak(speech(200))
    send(commit)
    expect(await until('conversation.item.input_audio_transcription.failed')).toMatchObject({
      error: { type: 'server_error', message: 'Whisper does not answer.' },
    })
    await expect
      .poll(() => all('conversation.item.done').at(-1))
      .toMatchObject({ item: { status: 'incomplete' } })
    send(say('hi'))
    send(respond)
    expect((await until('response.done')).response.status).toBe('completed')
  })

  it('stops an answer at once, keeps what was said of it, and ends it exactly once', async () => {
    const aborted = Promise.withResolvers<void>()
    const { send, until, all } = await open({
      async *chat(wish, signal) {
        signal.addEventListener('abort', () => aborted.resolve())
        yield* endless(wish, signal)
      },
    })
    send(say('hi'))
    send(respond)
    await until('response.output_text.delta')
    send({ type: 'response.cancel' })
    expect((await until('response.done')).response).toMatchObject({
      status: 'cancelled',
      status_details: { reason: 'client_cancelled' },
      output: [{ status: 'incomplete', content: [{ text: 'On and on' }] }],
    })
    await aborted.promise
    send({ type: 'response.cancel' })
    expect((await until('error')).error.code).toBe('response_cancel_not_active')
    expect(all('response.done')).toHaveLength(1)
  })

  it('writes one answer at a time', async () => {
    const { send, until, types } = await open({ chat: endless })
    send(say('hi'))
    send(respond)
    send({ type: 'response.create', event_id: 'mine' })
    expect((await until('error')).error).toMatchObject({
      code: 'conversation_already_has_active_response',
      event_id: 'mine',
    })
    expect(types()).not.toContain('response.done')
  })

  it('ends the work behind it when the client leaves', async () => {
    const aborted = Promise.withResolvers<void>()
    const { socket, send, until } = await open({
      async *chat(wish, signal) {
        signal.addEventListener('abort', () => aborted.resolve())
        yield* endless(wish, signal)
      },
    })
    send(say('hi'))
    send(respond)
    await until('response.output_text.delta')
    socket.close(1000)
    await aborted.promise
  })

  it('tells of an engine that failed, in words for people', async () => {
    const { send, until } = await open({
      async *chat() {
        yield 'a'
        throw new Failure('bad_upstream', 'Ollama broke off before its answer was whole.', 'http://10.0.0.5')
      },
    })
    send(say('hi'))
    send(respond)
    const { response } = await until('response.done')
    expect(response).toMatchObject({ status: 'failed', status_details: { error: { code: 'bad_upstream' } } })
    expect(JSON.stringify(response)).not.toContain('10.0.0.5')
  })

  it('answers with the model that was chosen, and names them where there is none of that name', async () => {
    const { talk, send, until } = await open()
    send({ type: 'session.update', session: { model: 'huge' } })
    expect((await until('error')).error.message).toContain('tiny, large')
    send({ type: 'session.update', session: { model: 'large', instructions: 'Be brief.' } })
    expect((await until('session.updated', 3)).session).toMatchObject({
      model: 'large',
      instructions: 'Be brief.',
    })
    send(say('hi'))
    send(respond)
    await until('response.done')
    expect(talk.chats[0]).toMatchObject({
      model: 'large',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'hi' },
      ],
    })
  })

  for (const [what, data, code] of [
    ['a frame that is no PCM', Buffer.from([0x1a, 0x45, 0xdf, 0xa3, 0, 0, 0, 0, 0]), 'invalid_audio'],
    [
      'a frame that is too long',
      Buffer.from(encodeFrame({ stream: 0, offset: 0, samples: new Int16Array(16_001) })),
      'invalid_audio',
    ],
    [
      'a frame of another stream',
      Buffer.from(encodeFrame({ stream: 3, offset: 0, samples: new Int16Array(10) })),
      'invalid_audio',
    ],
    [
      'a frame out of its place',
      Buffer.from(encodeFrame({ stream: 0, offset: 5, samples: new Int16Array(10) })),
      'input_audio_gap',
    ],
    ['half an event', '{"type":', 'invalid_event'],
    ['an event that nobody knows', '{"type":"response.sing"}', 'invalid_event'],
    [
      'a message without words',
      JSON.stringify({ ...say('x'), item: { type: 'message', role: 'user', content: [] } }),
      'invalid_event',
    ],
    [
      'an item behind one that is not there',
      JSON.stringify({ ...say('x'), previous_item_id: 'none' }),
      'invalid_value',
    ],
    [
      'a voice too fast',
      '{"type":"session.update","session":{"audio":{"output":{"speed":9}}}}',
      'invalid_event',
    ],
    ['a commit without sound', '{"type":"input_audio_buffer.commit"}', 'input_audio_buffer_commit_empty'],
  ] as const)
    it(`refuses ${what}, says so, and stays`, async () => {
      const { socket, send, until } = await open()
      socket.send(data)
      expect((await until('error')).error).toMatchObject({ code, message: expect.stringMatching(/\w+/) })
      send(say('hi'))
      send(respond)
      expect((await until('response.done')).response.status).toBe('completed')
    })

  it('hears a long turn from its first word on', async () => {
    const { talk, socket, send, until } = await open()
    for (let second = 0; second < 20; second += 1)
      socket.send(encodeFrame({ stream: 0, offset: second * 16_000, samples: speech(1_000) }))
    send(commit)
    await until('conversation.item.input_audio_transcription.completed')
    expect(talk.recordings.map((samples) => samples.length)).toEqual([320_000])
  })

  it('greets who has said nothing yet, where it was told how to', async () => {
    const { send, until } = await open()
    send({ type: 'session.update', session: { instructions: 'Greet them.' } })
    send(respond)
    expect((await until('response.done')).response.status).toBe('completed')
  })

  it('does not write down as a failure what nobody wanted any more', async () => {
    const rows: object[] = []
    const { send, until } = await open({ chat: endless, record: (row) => rows.push(row) })
    send(say('hi'))
    send(respond)
    await until('response.output_text.delta')
    send({ type: 'response.cancel' })
    await expect.poll(() => rows).toMatchObject([{ status: 499, ended: 'left', refusal: null }])
  })

  it('takes two minutes of speech and no more, and the next turn from its beginning', async () => {
    const { socket, send, until, all } = await open()
    const speak = (second: number) =>
      socket.send(encodeFrame({ stream: 0, offset: second * 16_000, samples: speech(1_000) }))
    for (let second = 0; second < 125; second += 1) speak(second)
    send(commit)
    expect(await until('conversation.item.input_audio_transcription.completed')).toMatchObject({
      usage: { seconds: 120 },
    })
    speak(125)
    send(commit)
    expect(await until('conversation.item.input_audio_transcription.completed', 2)).toMatchObject({
      usage: { seconds: 1 },
    })
    expect(all('error').map(({ error }) => error.code)).toEqual(['input_audio_buffer_full'])
  })

  it('says once that sound was lost, and listens on', async () => {
    const { socket, send, until, all } = await open()
    for (const frame of [0, 1, 5, 6, 7])
      socket.send(encodeFrame({ stream: 0, offset: frame * 1_600, samples: speech(100) }))
    send(commit)
    expect(await until('conversation.item.input_audio_transcription.completed')).toMatchObject({
      usage: { seconds: 0.5 },
    })
    expect(all('error').map(({ error }) => error.code)).toEqual(['input_audio_gap'])
  })
})
