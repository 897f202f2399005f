/** What a client may send that means ill, over a real socket: the session goes on, and so does the gateway. */
import { once } from 'node:events'
import * as fc from 'fast-check'
import { afterEach, expect, it } from 'vitest'
import { deep, jsonText, mutated } from '#engines/json.fixture.ts'
import { connectTalk, serveTalk } from './talk.fixture.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function open() {
  const talk = await serveTalk()
  const client = await connectTalk(talk)
  closers.push(talk.close, () => client.socket.terminate())
  await client.byHand()
  await client.asText()
  return client
}
type Client = Awaited<ReturnType<typeof open>>

/** Answered only where all that was sent before it was dealt with. */
async function alive({ send, until, all }: Client): Promise<void> {
  const before = all('input_audio_buffer.cleared').length
  send({ type: 'input_audio_buffer.clear' })
  await until('input_audio_buffer.cleared', before + 1)
}

it('an event that is nested too deep to be written again is refused (it ended the process)', async () => {
  const client = await open()
  for (const event of [
    `{"type":"session.update","session":{"more":${deep}}}`,
    `{"type":"session.update","session":{"tools":[{"type":"function","name":"f","parameters":${deep}}]}}`,
    `{"type":"response.create","response":{"tools":[{"type":"function","name":"f","parameters":${deep}}]}}`,
    deep,
  ])
    client.socket.send(event)
  await alive(client)
  expect(client.all('error').map(({ error }) => error.code)).toEqual(Array(4).fill('invalid_event'))
})

it('any messages at all leave the session as able as before', async () => {
  const client = await open()
  const event = fc.record({
    type: fc.constantFrom(
      'session.update',
      'input_audio_buffer.append',
      'input_audio_buffer.commit',
      'conversation.item.create',
      'conversation.item.delete',
      'conversation.item.truncate',
      'response.create',
      'response.cancel',
      'x.playback',
      'x.ack',
    ),
    event_id: fc.string(),
    session: fc.constant({}),
    item: fc.constant({ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hi' }] }),
    item_id: fc.constantFrom('item_1', '__proto__', ''),
    audio: fc.base64String(),
    content_index: fc.nat(),
    audio_end_ms: fc.double(),
    played_ms: fc.double(),
    received: fc.nat(),
  })
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 2_000 }),
    fc.uint8Array({ minLength: 6, maxLength: 2_000 }).map((rest) => Uint8Array.of(1, 0, ...rest)),
    jsonText,
    mutated(event).map((object) => JSON.stringify(object)),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 5, maxLength: 20 }), async (messages) => {
      for (const one of messages) client.socket.send(one)
      await alive(client)
      for (const { error } of client.all('error')) expect(error.code).not.toBe('internal')
    }),
    { numRuns: 40 },
  )
})

it('who floods the socket and reads nothing loses it, and another is served meanwhile', async () => {
  const talk = await serveTalk()
  const [bad, good] = await Promise.all([connectTalk(talk), connectTalk(talk)])
  closers.push(
    talk.close,
    ...[bad, good].map(
      ({ socket }) =>
        () =>
          socket.terminate(),
    ),
  )
  const closed = once(bad.socket, 'close')
  bad.socket.pause()
  const event = JSON.stringify({ type: 'none', event_id: 'x'.repeat(512) })
  for (let at = 0; at < 60_000; at += 1) bad.socket.send(event)
  await alive(good)
  await expect.poll(() => bad.socket.bufferedAmount, { timeout: 10_000 }).toBe(0)
  await alive(good)
  bad.socket.resume()
  expect((await closed)[0]).toBe(1013)
})

it('who fills one session after another is stopped before they are the gateway’s memory', async () => {
  const talk = await serveTalk()
  closers.push(talk.close)
  const connect = async () => {
    const client = await connectTalk(talk)
    closers.push(() => client.socket.terminate())
    await client.byHand()
    return client
  }
  /** How many of these were taken. */
  const put = async (client: Client, times: number): Promise<number> => {
    const before = client.all('conversation.item.done').length
    for (let at = 0; at < times; at += 1)
      client.send({
        type: 'conversation.item.create',
        item: { type: 'message', role: 'user', content: [{ type: 'input_image', image_url }] },
      })
    await alive(client)
    return client.all('conversation.item.done').length - before
  }
  const image_url = `data:image/png;base64,${'A'.repeat(11_999_000)}`
  const first = await connect()
  expect(await put(first, 6)).toBe(5)
  expect(await put(await connect(), 5)).toBe(5)
  const last = await connect()
  expect(await put(last, 2)).toBe(1)
  expect(last.all('error').map(({ error }) => error.code)).toEqual(['conversation_full'])
  first.socket.close(1000)
  await expect.poll(() => put(last, 1), { timeout: 10_000 }).toBe(1)
})
