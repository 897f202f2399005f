/** A client of ours that loses its connection comes back to the same session; others, and other devices, do not. */
import { setTimeout as pause } from 'node:timers/promises'
import { once } from 'node:events'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { makeSecret } from '@sotto/provisioning/registry/secret.ts'
import { WebSocket } from 'ws'
import { encodeFrame, subprotocol } from '#protocol/frame.ts'
import { said } from '#conversations/open.fixture.ts'
import { connectTalk, letters, serveTalk, silence, speech, type Script } from './talk.fixture.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  vi.useRealTimers()
  for (const close of closers.splice(0).toReversed()) await close()
})

async function open(script: Script = {}) {
  const talk = await serveTalk(script)
  closers.push(talk.close)
  const connect = async (query = '') => {
    const client = await connectTalk(talk, { query })
    closers.push(() => client.socket.terminate())
    return client
  }
  return { talk, connect }
}

describe('a client that lost its connection', () => {
  it('in the middle of an answer hears the rest of it, and nothing twice', async () => {
    const text = 'This is a long answer, of one sentence, that goes on and on and on.'
    const { connect } = await open({
      async *chat() {
        yield text
      },
      async *say(words) {
        for await (const piece of letters(words)) {
          await pause(20)
          yield piece
        }
      },
    })
    const first = await connect()
    const { session } = await first.until('session.created')
    first.speak(speech(500), silence(700))
    await expect.poll(() => first.frames.length).toBeGreaterThan(2)
    first.socket.terminate()
    await once(first.socket, 'close')
    const had = first.received
    await pause(100)
    const second = await connect(`?resume=${session.id}&received=${had}`)
    await second.until('response.done')
    expect(second.order[0]).toBe('x.resumed')
    expect(second.all('session.created')).toEqual([])
    const frames = [...first.frames, ...second.frames]
    let next = 0
    for (const { offset, samples } of frames) {
      expect(offset).toBe(next)
      next += samples.length
    }
    const caption = [...first.events, ...second.events].flatMap((event) =>
      event.type === 'response.output_audio_transcript.delta' ? [event.delta] : [],
    )
    expect(caption.join('')).toBe(text)
  })

  it('in the middle of a question sends the rest of it, and all of it is heard', async () => {
    const { talk, connect } = await open({
      hear: (samples) => `${Math.round(samples.length / 1_600) / 10} s`,
    })
    const first = await connect()
    const { session } = await first.until('session.created')
    first.speak(speech(600))
    await first.until('input_audio_buffer.speech_started')
    first.socket.terminate()
    await once(first.socket, 'close')
    const second = await connect(`?resume=${session.id}&received=${first.received}`)
    const resumed = second.events[0] as unknown as { type: string; received: number }
    expect(resumed).toEqual({ type: 'x.resumed', received: 30 })
    // What the gateway has had already comes again, as it does where the client does not know: it is not taken twice.
    const rest = [speech(600), speech(400), silence(700)]
    let offset = 0
    for (const piece of rest)
      for (let at = 0; at < piece.length; at += 320, offset += 320)
        second.socket.send(encodeFrame({ stream: 0, offset, samples: piece.subarray(at, at + 320) }))
    await second.until('response.done')
    expect(second.all('input_audio_buffer.speech_started')).toEqual([])
    expect(talk.recordings).toHaveLength(1)
    // A second of speech, and the first sign of silence.
    expect(second.all('conversation.item.input_audio_transcription.completed')[0]?.transcript).toMatch(
      /^1\.[23] s$/,
    )
  })

  it('takes its session from a connection that only looks open', async () => {
    const { connect } = await open()
    const first = await connect()
    const { session } = await first.until('session.created')
    const second = await connect(`?resume=${session.id}&received=${first.received}`)
    await expect.poll(() => first.closed).toBeDefined()
    second.speak(speech(500), silence(700))
    await second.until('response.done')
  })

  it('too late, or with the name of none, begins anew', async () => {
    const { connect } = await open()
    const first = await connect()
    const { session } = await first.until('session.created')
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    first.socket.terminate()
    await once(first.socket, 'close')
    await pause(50)
    await vi.advanceTimersByTimeAsync(60_001)
    vi.useRealTimers()
    for (const id of [session.id, 'sess_none']) {
      const again = await connect(`?resume=${id}&received=${first.received}`)
      const { session: made } = await again.until('session.created')
      expect(made.id).not.toBe(session.id)
    }
  })

  it('of OpenAI’s has none to come back to: its session ends with it', async () => {
    const aborted = Promise.withResolvers<void>()
    const { talk } = await open({
      async *chat(_wish, signal) {
        yield 'On and on, '
        await new Promise<void>((settle) => signal.addEventListener('abort', () => settle()))
        aborted.resolve()
      },
    })
    const client = await connectTalk(talk, { protocol: 'realtime' })
    client.send({ type: 'response.create', response: { instructions: 'Speak.' } })
    await client.until('response.created')
    client.socket.terminate()
    await aborted.promise
  })

  it('that says goodbye is not waited for', async () => {
    const { connect } = await open()
    const first = await connect()
    const { session } = await first.until('session.created')
    first.socket.close(1000)
    await once(first.socket, 'close')
    const again = await connect(`?resume=${session.id}&received=${first.received}`)
    expect((await again.until('session.created')).session.id).not.toBe(session.id)
  })
})

describe('the way in', () => {
  const refused = async (url: string, protocols: string[]) => {
    const socket = new WebSocket(url, protocols)
    const [, response] = await once(socket, 'unexpected-response')
    socket.on('error', () => {})
    return (response as { statusCode: number }).statusCode
  }
  it('is for those who speak one of its protocols, and no call', async () => {
    const { talk } = await open()
    expect(await refused(talk.url, ['chat'])).toBe(400)
    expect(await refused(`${talk.url}?call_id=1`, ['realtime'])).toBe(400)
    expect(await refused(`${talk.url}?items=0`, [subprotocol])).toBe(400)
    expect(await refused(talk.url.replace('realtime', 'other'), [subprotocol])).toBe(404)
  })
  it('tells no protocol back that holds a key', async () => {
    const { talk } = await open()
    expect(await refused(talk.url, ['realtime', `openai-insecure-api-key.${makeSecret().text}`])).toBe(401)
    const client = await connectTalk(talk, { protocol: 'realtime' })
    closers.push(() => client.socket.terminate())
    expect(client.socket.protocol).toBe('realtime')
  })
})

describe('a conversation', () => {
  it('of many items is opened with the last of them, and says that there are more', async () => {
    const { talk, connect } = await open()
    const thread = await talk.conversations.open('host')
    for (let at = 0; at < 5; at += 1) thread.put(said(`line ${at}`))
    const ids = thread.items.map(({ id }) => id)
    const some = await connect(`?conversation=${thread.id}&items=2`)
    expect(await some.until('x.earlier')).toMatchObject({ before: ids[3] })
    expect(some.all('conversation.item.done')).toMatchObject([
      { item: { id: ids[3] }, previous_item_id: ids[2] },
      { item: { id: ids[4] }, previous_item_id: ids[3] },
    ])
    for (const query of ['&items=5', '']) {
      const all = await connect(`?conversation=${thread.id}${query}`)
      await all.until('conversation.item.done', 5)
      all.send({ type: 'conversation.item.retrieve', item_id: ids[0] ?? '' })
      await all.until('conversation.item.retrieved')
      expect(all.all('x.earlier')).toEqual([])
    }
  })

  it('that is begun, named or deleted anywhere is known to all sessions of its owner', async () => {
    const { talk, connect } = await open()
    const phone = await connect()
    const stock = await connectTalk(talk, { protocol: 'realtime' })
    closers.push(() => stock.socket.terminate())
    const elsewhere = await talk.conversations.open('host')
    elsewhere.put(said('hello'))
    expect(await phone.until('x.conversations')).toMatchObject({
      changed: { id: elsewhere.id, title: 'hello', pinned: false },
    })
    await talk.conversations.name('host', elsewhere.id, { title: 'Mine' })
    expect(await phone.until('x.conversations', 2)).toMatchObject({ changed: { title: 'Mine' } })
    await talk.conversations.delete('host', elsewhere.id)
    expect(await phone.until('x.conversations', 3)).toMatchObject({ removed: elsewhere.id })
    expect(stock.events.map(({ type }) => type)).toEqual(['session.created'])
  })

  it('begun by voice on one device goes on in writing on another, live on both', async () => {
    const { talk, connect } = await open({ hear: () => 'how far is the moon' })
    const phone = await connect()
    const { session } = await phone.until('session.created')
    phone.speak(speech(500), silence(700))
    await phone.until('response.done')
    const laptop = await connect(`?conversation=${session.x_conversation}`)
    await laptop.until('conversation.item.done', 2)
    expect(laptop.all('conversation.item.done').map(({ item }) => item)).toMatchObject([
      { role: 'user', content: [{ transcript: 'how far is the moon' }] },
      { role: 'assistant', content: [{ transcript: 'Hello.' }] },
    ])
    laptop.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'And mars?' }] },
    })
    laptop.send({ type: 'response.create' })
    await laptop.until('response.done')
    expect(talk.chats.at(-1)?.messages).toEqual([
      { role: 'user', content: 'how far is the moon' },
      { role: 'assistant', content: 'Hello.' },
      { role: 'user', content: 'And mars?' },
    ])
    await phone.until('conversation.item.done', 4)
    expect(phone.all('conversation.item.done').at(-2)?.item).toMatchObject({
      content: [{ text: 'And mars?' }],
    })
    const kept = async () => (await talk.conversations.list('host')).conversations
    await expect.poll(kept, { timeout: 10_000 }).toMatchObject([{ title: 'how far is the moon' }])
  })
})
