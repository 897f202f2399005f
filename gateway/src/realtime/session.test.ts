import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { ChatEngine, Engines, Transcriber } from '#engines/engine.ts'
import type { ClientEvent, EngineStates, ServerEvent } from '#protocol/events.ts'
import { createModelPool } from '#engines/pool.ts'
import { encodeFrame } from '#protocol/frame.ts'
import { Failure } from '../failure.ts'
import { nobodySpecial } from './account.fixture.ts'
import { openSession } from './session.ts'

const states: EngineStates = {
  chat: { kind: 'ollama', ready: true, models: ['tiny', 'large'] },
  transcription: { kind: 'whisper.cpp', ready: true, models: [] },
}
const log = { info() {}, error() {} }
const closers: (() => unknown)[] = []

afterEach(() => {
  for (const close of closers.splice(0)) close()
})

interface Heard {
  readonly chats: { model: string | null; messages: readonly { role: string; content: string }[] }[]
  readonly recordings: Int16Array[]
  aborted: boolean
}

/** Engines that answer as told, and what they were asked. */
function engines(transcript: string, answer: (heard: Heard, signal: AbortSignal) => AsyncIterable<string>) {
  const heard: Heard = { chats: [], recordings: [], aborted: false }
  const chat: ChatEngine = {
    kind: 'ollama',
    async *chat(wish, signal) {
      heard.chats.push(wish)
      signal.addEventListener('abort', () => (heard.aborted = true))
      yield* answer(heard, signal)
    },
    async warm() {},
  }
  const transcriber: Transcriber = {
    kind: 'whisper.cpp',
    async transcribe(samples) {
      heard.recordings.push(samples)
      if (transcript === 'broken') throw new Failure('unavailable', 'Whisper does not answer.')
      return transcript
    },
    transcribeFile: async () => ({ contentType: 'text/plain', text: transcript }),
  }
  const listeners = new Set<(states: EngineStates) => void>()
  const all: Engines = {
    chat,
    transcriber,
    states,
    pool: createModelPool([]),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: async () => {},
  }
  return { heard, all, listeners }
}

async function* hello() {
  yield 'Hel'
  yield 'lo.'
}

/** Goes on until it is told to stop. */
async function* endless(_heard: Heard, signal: AbortSignal) {
  yield 'On and on'
  await new Promise((_settle, fail) => signal.addEventListener('abort', () => fail(signal.reason as Error)))
}

/** A client of a session on a real socket. */
async function connect(all: Engines) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  server.on('connection', (socket) => openSession({ ...nobodySpecial, socket, engines: all, log }))
  await once(server, 'listening')
  const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  closers.push(
    () => socket.terminate(),
    () => server.close(),
  )
  const events: ServerEvent[] = []
  socket.on('message', (data: Buffer) => events.push(JSON.parse(data.toString())))
  await once(socket, 'open')
  const until = async <T extends ServerEvent['type']>(
    type: T,
  ): Promise<Extract<ServerEvent, { type: T }>> => {
    await expect.poll(() => events.some((event) => event.type === type)).toBe(true)
    return events.findLast((event): event is Extract<ServerEvent, { type: T }> => event.type === type)!
  }
  await until('x.engines')
  return {
    socket,
    events,
    until,
    types: () => events.map(({ type }) => type),
    send: (event: ClientEvent) => socket.send(JSON.stringify(event)),
    speak: (offset: number, count = 1_600) =>
      socket.send(encodeFrame({ offset, samples: new Int16Array(count).fill(offset + 1) })),
  }
}

const say = (text: string): ClientEvent => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
})

describe('a session', () => {
  it('says at once who it takes the caller for and which engines there are', async () => {
    const { events } = await connect(engines('', hello).all)
    expect(events).toMatchObject([
      { type: 'session.created', session: { model: 'tiny', x_caller: { kind: 'device', name: 'phone' } } },
      { type: 'x.engines', engines: states },
    ])
    for (const event of events) expect(event.event_id).toMatch(/^event_/)
  })

  it('tells when an engine comes or goes', async () => {
    const { all, listeners } = engines('', hello)
    const { events } = await connect(all)
    for (const listener of listeners) listener({ ...states, chat: { kind: 'demo', ready: true, models: [] } })
    await expect
      .poll(() => events.at(-1))
      .toMatchObject({ type: 'x.engines', engines: { chat: { kind: 'demo' } } })
  })

  it('answers what is typed, in the order of the Realtime events, and remembers it', async () => {
    const { all, heard } = engines('', hello)
    const { send, until, types } = await connect(all)
    send(say('hi'))
    send({ type: 'response.create' })
    const { response } = await until('response.done')
    expect(response).toMatchObject({
      status: 'completed',
      output: [{ role: 'assistant', content: [{ type: 'output_text', text: 'Hello.' }] }],
    })
    expect(types().slice(2)).toEqual([
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
    send({ type: 'response.create' })
    await expect.poll(() => heard.chats.length).toBe(2)
    expect(heard.chats[1]?.messages).toEqual([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'Hello.' },
      { role: 'user', content: 'again' },
    ])
  })

  it('hears a turn of speech whole, and answers its words', async () => {
    const { all, heard } = engines('what is said', hello)
    const { send, speak, until } = await connect(all)
    speak(0)
    speak(1_600)
    send({ type: 'input_audio_buffer.commit' })
    send({ type: 'response.create' })
    expect(await until('conversation.item.input_audio_transcription.completed')).toMatchObject({
      transcript: 'what is said',
      usage: { type: 'duration', seconds: 0.2 },
    })
    await until('response.done')
    expect(heard.recordings.map((samples) => [samples.length, samples[0], samples[1_600]])).toEqual([
      [3_200, 1, 1_601],
    ])
    expect(heard.chats[0]?.messages).toEqual([{ role: 'user', content: 'what is said' }])
  })

  it('does not answer silence', async () => {
    const { all, heard } = engines('', hello)
    const { send, speak, until } = await connect(all)
    speak(0)
    send({ type: 'input_audio_buffer.commit' })
    send({ type: 'response.create' })
    expect((await until('response.done')).response).toMatchObject({
      status: 'incomplete',
      status_details: { reason: 'empty_input' },
      output: [],
    })
    expect(heard.chats).toEqual([])
  })

  it('says that a recording could not be transcribed, and goes on', async () => {
    const { send, speak, until } = await connect(engines('broken', hello).all)
    speak(0)
    send({ type: 'input_audio_buffer.commit' })
    expect(await until('conversation.item.input_audio_transcription.failed')).toMatchObject({
      error: { message: 'Whisper does not answer.' },
    })
    send(say('hi'))
    send({ type: 'response.create' })
    expect((await until('response.done')).response.status).toBe('completed')
  })

  it('stops an answer at once, keeps what was said of it, and ends it exactly once', async () => {
    const { all, heard } = engines('', endless)
    const { send, until, types } = await connect(all)
    send(say('hi'))
    send({ type: 'response.create' })
    await until('response.output_text.delta')
    send({ type: 'response.cancel' })
    expect((await until('response.done')).response).toMatchObject({
      status: 'cancelled',
      status_details: { reason: 'client_cancelled' },
      output: [{ status: 'incomplete', content: [{ text: 'On and on' }] }],
    })
    expect(heard.aborted).toBe(true)
    send({ type: 'response.cancel' })
    expect((await until('error')).error.code).toBe('response_cancel_not_active')
    expect(types().filter((type) => type === 'response.done')).toHaveLength(1)
  })

  it('writes one answer at a time', async () => {
    const { send, until, types } = await connect(engines('', endless).all)
    send(say('hi'))
    send({ type: 'response.create' })
    send({ type: 'response.create', event_id: 'mine' })
    expect((await until('error')).error).toMatchObject({
      code: 'conversation_already_has_active_response',
      event_id: 'mine',
    })
    expect(types()).not.toContain('response.done')
  })

  it('ends the work behind it when the client leaves', async () => {
    const { all, heard } = engines('', endless)
    const { socket, send, until } = await connect(all)
    send(say('hi'))
    send({ type: 'response.create' })
    await until('response.output_text.delta')
    socket.terminate()
    await expect.poll(() => heard.aborted).toBe(true)
  })

  it('tells of an engine that failed, in words for people', async () => {
    const { send, until } = await connect(
      engines('', async function* fail() {
        yield 'a'
        throw new Failure('bad_upstream', 'Ollama broke off before its answer was whole.', 'http://10.0.0.5')
      }).all,
    )
    send(say('hi'))
    send({ type: 'response.create' })
    const { response } = await until('response.done')
    expect(response).toMatchObject({ status: 'failed', status_details: { error: { code: 'bad_upstream' } } })
    expect(JSON.stringify(response)).not.toContain('10.0.0.5')
  })

  it('answers with the model that was chosen, and names them where there is none of that name', async () => {
    const { all, heard } = engines('', hello)
    const { send, until } = await connect(all)
    send({ type: 'session.update', session: { model: 'huge' } })
    expect((await until('error')).error.message).toContain('tiny, large')
    send({ type: 'session.update', session: { model: 'large', instructions: 'Be brief.' } })
    expect((await until('session.updated')).session).toMatchObject({
      model: 'large',
      instructions: 'Be brief.',
    })
    send(say('hi'))
    send({ type: 'response.create' })
    await until('response.done')
    expect(heard.chats[0]).toMatchObject({
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
      Buffer.from(encodeFrame({ offset: 0, samples: new Int16Array(16_001) })),
      'invalid_audio',
    ],
    [
      'a frame out of its place',
      Buffer.from(encodeFrame({ offset: 5, samples: new Int16Array(10) })),
      'input_audio_gap',
    ],
    ['half an event', '{"type":', 'invalid_event'],
    ['an event that nobody knows', '{"type":"response.sing"}', 'invalid_event'],
    [
      'a message without words',
      JSON.stringify({ ...say('x'), item: { type: 'message', role: 'user', content: [] } }),
      'invalid_event',
    ],
    ['a commit without sound', '{"type":"input_audio_buffer.commit"}', 'input_audio_buffer_commit_empty'],
  ] as const)
    it(`refuses ${what}, says so, and stays`, async () => {
      const { socket, send, until } = await connect(engines('', hello).all)
      socket.send(data)
      expect((await until('error')).error).toMatchObject({ code, message: expect.stringMatching(/\w+/) })
      send(say('hi'))
      send({ type: 'response.create' })
      expect((await until('response.done')).response.status).toBe('completed')
    })

  it('takes two minutes of speech and no more', async () => {
    const { speak, until } = await connect(engines('', hello).all)
    for (let at = 0; at <= 120; at += 1) speak(at * 16_000, 16_000)
    expect((await until('error')).error.code).toBe('input_audio_buffer_full')
  })
})
