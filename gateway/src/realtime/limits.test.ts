/** A session with engines that speak HTTP, and with clients that do too much or too little. */
import { once } from 'node:events'
import { afterEach, expect, it } from 'vitest'
import { createEngines } from '#engines/discovery.ts'
import {
  json,
  left,
  ndjson,
  serveOllama,
  serveWhisperCpp,
  silentLog,
  type Call,
} from '#engines/upstream.fixture.ts'
import type { ClientEventInput } from '#protocol/events.ts'
import { connectTalk, serveTalk, speech } from './talk.fixture.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function open(chat: (call: Call) => unknown, hear: (call: Call) => unknown = heard) {
  const ollama = await serveOllama(chat)
  const whisper = await serveWhisperCpp(hear)
  const engines = await createEngines({
    backends: [{ name: 'ollama', url: ollama.url, kind: 'ollama', parallel: 4 }],
    whisper: { url: whisper.url, parallel: 1 },
    log: silentLog,
    everyMs: 60_000,
  })
  const talk = await serveTalk({ engines })
  const client = await connectTalk(talk)
  closers.push(engines.close, ollama.close, whisper.close, talk.close, () => client.socket.terminate())
  await client.byHand()
  await client.asText()
  return { ...client, codes: () => client.all('error').map(({ error }) => error.code) }
}

const commit: ClientEventInput = { type: 'input_audio_buffer.commit' }
const respond: ClientEventInput = { type: 'response.create' }
const say = (text: string, id?: string): ClientEventInput => ({
  type: 'conversation.item.create',
  item: { ...(id && { id }), type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
})
const said = (content: string) => ({ message: { role: 'assistant', content }, done: false })
const heard = ({ response }: Call) => json(response, 200, { text: ' How far is the moon?\n' })

it('a turn of speech goes through Whisper to Ollama, and back as words', async () => {
  const asked: unknown[] = []
  const { send, speak, until } = await open(({ body, response }) => {
    asked.push(JSON.parse(body.toString()))
    const line = ndjson(response)
    for (const word of ['Quite ', 'far.']) line(said(word))
    line({ done: true })
    response.end()
  })
  speak(speech(200))
  send(commit)
  send(respond)
  expect((await until('response.done')).response).toMatchObject({
    status: 'completed',
    output: [{ content: [{ text: 'Quite far.' }] }],
  })
  expect(asked).toEqual([
    { model: 'tiny:latest', messages: [{ role: 'user', content: 'How far is the moon?' }], stream: true },
  ])
})

it('functions and pictures go to Ollama as it takes them, and its calls come back', async () => {
  const asked: object[] = []
  const { send, until } = await open(({ body, response }) => {
    asked.push(JSON.parse(body.toString()))
    const line = ndjson(response)
    if (asked.length === 1)
      line({
        message: {
          role: 'assistant',
          content: '',
          tool_calls: [{ function: { name: 'look', arguments: { at: 'sky' } } }],
        },
        done: false,
      })
    else line(said('Clear.'))
    line({ done: true })
    response.end()
  })
  const parameters = { type: 'object', properties: { at: { type: 'string' } } }
  send({
    type: 'session.update',
    session: { tools: [{ type: 'function', name: 'look', description: 'Looks', parameters }] },
  })
  send({
    type: 'conversation.item.create',
    item: {
      type: 'message',
      role: 'user',
      content: [
        { type: 'input_text', text: 'What is this?' },
        { type: 'input_image', image_url: 'data:image/png;base64,aGk=' },
      ],
    },
  })
  send(respond)
  const { call_id, name, arguments: given } = await until('response.function_call_arguments.done')
  expect([name, given]).toEqual(['look', '{"at":"sky"}'])
  expect((await until('response.done')).response.output).toMatchObject([{ type: 'function_call', call_id }])
  send({ type: 'conversation.item.create', item: { type: 'function_call_output', call_id, output: 'blue' } })
  send(respond)
  await until('response.done', 2)
  expect(asked).toMatchObject([
    {
      tools: [{ type: 'function', function: { name: 'look', description: 'Looks', parameters } }],
      messages: [{ role: 'user', content: 'What is this?', images: ['aGk='] }],
    },
    {
      messages: [
        { role: 'user' },
        { role: 'assistant', tool_calls: [{ function: { name: 'look', arguments: { at: 'sky' } } }] },
        { role: 'tool', tool_name: 'look', content: 'blue' },
      ],
    },
  ])
})

it('an answer that is as long as it may be says so', async () => {
  const { send, until } = await open(({ body, response }) => {
    expect(JSON.parse(body.toString())).toMatchObject({ options: { num_predict: 5 } })
    const line = ndjson(response)
    line(said('One two'))
    line({ done: true, done_reason: 'length' })
    response.end()
  })
  send(say('Count.'))
  send({ type: 'response.create', response: { max_output_tokens: 5 } })
  expect((await until('response.done')).response).toMatchObject({
    status: 'incomplete',
    status_details: { reason: 'max_output_tokens' },
  })
})

it('a cancel reaches Ollama', async () => {
  const gone = Promise.withResolvers<void>()
  const { send, until } = await open(({ response }) => {
    void left(response).then(gone.resolve)
    ndjson(response)(said('Once '))
  })
  send(say('A story'))
  send(respond)
  await until('response.output_text.delta')
  send({ type: 'response.cancel' })
  expect((await until('response.done')).response.status).toBe('cancelled')
  await gone.promise
})

it('a client that leaves while Whisper listens stops it', async () => {
  const listening = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<void>()
  const { send, socket, speak } = await open(
    () => {},
    ({ response }) => {
      void left(response).then(gone.resolve)
      listening.resolve()
    },
  )
  speak(speech(200))
  send(commit)
  await listening.promise
  socket.close(1000)
  await gone.promise
})

it('recordings that wait for Whisper are few, and one too many is dropped, so that the next turn begins anew', async () => {
  const calls: Call[] = []
  const { all, codes, send, speak, until } = await open(
    () => {},
    (call) => calls.push(call),
  )
  for (let turn = 0; turn < 5; turn += 1) {
    speak(speech(200))
    send(commit)
  }
  await until('error')
  expect([codes(), all('input_audio_buffer.committed').length]).toEqual([['transcription_busy'], 4])
  await expect.poll(() => calls.length, { timeout: 10_000 }).toBe(1)
  heard(calls[0] as Call)
  await until('conversation.item.input_audio_transcription.completed')
  speak(speech(200))
  send(commit)
  await until('input_audio_buffer.committed', 5)
  expect(codes()).toEqual(['transcription_busy'])
})

it('answers aside are few at a time', async () => {
  const { send, until, all } = await open(() => {})
  for (let at = 0; at < 5; at += 1)
    send({ type: 'response.create', response: { conversation: 'none', instructions: `${at}` } })
  expect((await until('error')).error).toMatchObject({ code: 'busy' })
  expect(all('response.created')).toHaveLength(4)
  for (const { response } of all('response.created'))
    send({ type: 'response.cancel', response_id: response.id })
  await until('response.done', 4)
})

it('a conversation holds only so much', async () => {
  const { send, until, all } = await open(() => {})
  const image_url = `data:image/png;base64,${'A'.repeat(11_000_000)}`
  for (let at = 0; at < 7; at += 1)
    send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_image', image_url }] },
    })
  await until('error')
  expect([all('error')[0]?.error.code, all('conversation.item.added').length]).toEqual([
    'conversation_full',
    6,
  ])
})

it('an item can not take the id of another', async () => {
  const { all, codes, send, until } = await open(() => {})
  send(say('one', 'mine'))
  send(say('two', 'mine'))
  await until('error')
  expect([codes(), all('conversation.item.added').length]).toEqual([['item_exists'], 1])
})

it('a client that does not read loses its session and its answer, not the gateway its memory', async () => {
  const gone = Promise.withResolvers<void>()
  const { send, socket } = await open(async ({ response }) => {
    const closed = left(response).then(gone.resolve)
    const line = JSON.stringify(said('x'.repeat(512 * 1024)))
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    // Far more than the sockets on the way can hold.
    for (let at = 0; at < 400 && !response.destroyed; at += 1)
      if (!response.write(`${line}\n`)) await Promise.race([once(response, 'drain'), closed])
  })
  send(say('Write a very long book.'))
  send(respond)
  socket.pause()
  await gone.promise
  socket.resume()
  const [code] = await once(socket, 'close')
  expect(code).toBe(1013)
})
