/** A session with engines that speak HTTP, and with clients that do too much or too little. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { createEngines } from '#engines/discovery.ts'
import type { Engines } from '#engines/engine.ts'
import {
  json,
  left,
  ndjson,
  serveOllama,
  serveWhisperCpp,
  silentLog,
  type Call,
} from '#engines/upstream.fixture.ts'
import type { ServerEvent } from '#protocol/events.ts'
import { encodeFrame } from '#protocol/frame.ts'
import { nobodySpecial } from './account.fixture.ts'
import { openSession } from './session.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function engines(chat: (call: Call) => unknown, hear: (call: Call) => unknown): Promise<Engines> {
  const ollama = await serveOllama(chat)
  const whisper = await serveWhisperCpp(hear)
  const found = await createEngines({
    backends: [{ name: 'ollama', url: ollama.url, kind: 'ollama', parallel: 4 }],
    whisper: whisper.url,
    log: silentLog,
    everyMs: 60_000,
  })
  closers.push(ollama.close, whisper.close, found.close)
  return found
}

async function connect(found: Engines) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  server.on('connection', (socket) =>
    openSession({ ...nobodySpecial, socket, engines: found, log: silentLog }),
  )
  await once(server, 'listening')
  const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  closers.push(
    () => server.close(),
    () => socket.terminate(),
  )
  const events: ServerEvent[] = []
  socket.on('message', (data: Buffer) => events.push(JSON.parse(data.toString())))
  await once(socket, 'open')
  const count = (type: ServerEvent['type']) => events.filter((event) => event.type === type).length
  return {
    socket,
    events,
    count,
    codes: () => events.flatMap((event) => (event.type === 'error' ? [event.error.code] : [])),
    send: (event: object) => socket.send(JSON.stringify(event)),
    speak: (offset: number, samples = 1_600) =>
      socket.send(encodeFrame({ offset, samples: new Int16Array(samples) })),
    until: (type: ServerEvent['type'], times = 1) =>
      expect.poll(() => count(type), { timeout: 10_000 }).toBe(times),
  }
}

const commit = { type: 'input_audio_buffer.commit' }
const respond = { type: 'response.create' }
const say = (text: string, id?: string) => ({
  type: 'conversation.item.create',
  item: { ...(id && { id }), type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
})
const said = (content: string) => ({ message: { role: 'assistant', content }, done: false })
const heard = ({ response }: Call) => json(response, 200, { text: ' How far is the moon?\n' })

it('a turn of speech goes through Whisper to Ollama, and back as words', async () => {
  const asked: unknown[] = []
  const found = await engines(({ body, response }) => {
    asked.push(JSON.parse(body.toString()))
    const line = ndjson(response)
    for (const word of ['Quite ', 'far.']) line(said(word))
    line({ done: true })
    response.end()
  }, heard)
  const { events, send, speak, until } = await connect(found)
  speak(0)
  send(commit)
  send(respond)
  await until('response.done')
  expect(asked).toEqual([
    { model: 'tiny:latest', messages: [{ role: 'user', content: 'How far is the moon?' }], stream: true },
  ])
  expect(events.at(-1)).toMatchObject({
    response: { status: 'completed', output: [{ content: [{ text: 'Quite far.' }] }] },
  })
})

it('a cancel reaches Ollama', async () => {
  const gone = Promise.withResolvers<void>()
  const found = await engines(({ response }) => {
    void left(response).then(gone.resolve)
    ndjson(response)(said('Once '))
  }, heard)
  const { events, send, until } = await connect(found)
  send(say('A story'))
  send(respond)
  await until('response.output_text.delta')
  send({ type: 'response.cancel' })
  await until('response.done')
  await gone.promise
  expect(events.at(-1)).toMatchObject({ response: { status: 'cancelled' } })
})

it('a client that leaves while Whisper listens stops it', async () => {
  const listening = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<void>()
  const found = await engines(
    () => {},
    ({ response }) => {
      void left(response).then(gone.resolve)
      listening.resolve()
    },
  )
  const { send, socket, speak } = await connect(found)
  speak(0)
  send(commit)
  await listening.promise
  socket.terminate()
  await gone.promise
})

describe('a session says once what went wrong', () => {
  it('where a frame is lost and fifty a second follow, and listens again in the next turn', async () => {
    const { codes, send, speak, until } = await connect(await engines(() => {}, heard))
    speak(0)
    for (let at = 2; at < 20; at += 1) speak(at * 1_600)
    send(commit)
    speak(0)
    send(commit)
    await until('conversation.item.input_audio_transcription.completed', 2)
    expect(codes()).toEqual(['input_audio_gap'])
  })

  it('where a turn is too long, whose first two minutes stay', async () => {
    const { codes, events, send, speak, until } = await connect(await engines(() => {}, heard))
    for (let second = 0; second < 125; second += 1) speak(second * 16_000, 16_000)
    send(commit)
    await until('conversation.item.input_audio_transcription.completed')
    expect(codes()).toEqual(['input_audio_buffer_full'])
    expect(events.findLast((event) => 'transcript' in event)).toMatchObject({ usage: { seconds: 120 } })
  })
})

it('a recording that could not be transcribed is done, too', async () => {
  const found = await engines(
    () => {},
    ({ response }) => response.writeHead(400).end('Invalid request'),
  )
  const { events, send, speak, until } = await connect(found)
  speak(0)
  send(commit)
  await until('conversation.item.done')
  expect(events.slice(-2)).toMatchObject([
    { type: 'conversation.item.input_audio_transcription.failed' },
    { type: 'conversation.item.done', item: { status: 'incomplete' } },
  ])
})

it('recordings that wait for Whisper are few, and one too many is dropped, so that the next turn begins anew', async () => {
  const calls: Call[] = []
  const found = await engines(
    () => {},
    (call) => calls.push(call),
  )
  const { codes, count, send, speak, until } = await connect(found)
  for (let turn = 0; turn < 5; turn += 1) {
    speak(0)
    send(commit)
  }
  await until('error')
  expect([codes(), count('input_audio_buffer.committed')]).toEqual([['transcription_busy'], 4])
  await expect.poll(() => calls.length, { timeout: 10_000 }).toBe(1)
  heard(calls[0] as Call)
  await until('conversation.item.input_audio_transcription.completed')
  speak(0)
  send(commit)
  await until('input_audio_buffer.committed', 5)
  expect(codes()).toEqual(['transcription_busy'])
})

it('an item can not take the id of another', async () => {
  const { codes, count, send, until } = await connect(await engines(() => {}, heard))
  send(say('one', 'mine'))
  send(say('two', 'mine'))
  await until('error')
  expect([codes(), count('conversation.item.added')]).toEqual([['item_exists'], 1])
})

it('a client that does not read loses its session and its answer, not the gateway its memory', async () => {
  const gone = Promise.withResolvers<void>()
  const found = await engines(async ({ response }) => {
    const closed = left(response).then(gone.resolve)
    const line = JSON.stringify(said('x'.repeat(512 * 1024)))
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    // Far more than the sockets on the way can hold.
    for (let at = 0; at < 400 && !response.destroyed; at += 1)
      if (!response.write(`${line}\n`)) await Promise.race([once(response, 'drain'), closed])
  }, heard)
  const { send, socket } = await connect(found)
  send(say('Write a very long book.'))
  send(respond)
  socket.pause()
  await gone.promise
  socket.resume()
  const [code] = await once(socket, 'close')
  expect(code).toBe(1013)
})
