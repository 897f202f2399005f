import { once } from 'node:events'
import { createServer } from 'node:net'
import * as fc from 'fast-check'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Failure } from '../failure.ts'
import { jsonText, pieces } from './json.fixture.ts'
import { converse, type WyomingEvent } from './wyoming.ts'

let said: readonly Buffer[] = []
const server = createServer((socket) => {
  socket.on('error', () => {})
  socket.setNoDelay()
  for (const chunk of said) socket.write(chunk)
  socket.end()
})
let url = ''
beforeEach(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  url = `tcp://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`
})
afterEach(async () => {
  await new Promise((settle) => server.close(settle))
})

/** What was understood, until it breaks off or is none. */
async function heard(chunks: readonly Buffer[]): Promise<readonly WyomingEvent[]> {
  said = chunks
  const events: WyomingEvent[] = []
  try {
    for await (const event of converse(url, [], new AbortController().signal)) events.push(event)
  } catch (error) {
    expect(error).toBeInstanceOf(Failure)
  }
  return events
}

it('whatever answers, and however it is cut, fails as an engine does', async () => {
  const header = fc
    .tuple(jsonText, fc.nat(12), fc.nat(12), jsonText)
    .map(
      ([data, more, payload, rest]) =>
        `{"type":"info","data":${data},"data_length":${more},"payload_length":${payload}}\n${rest}`,
    )
  const texts = fc.oneof(header, jsonText, fc.string({ unit: 'binary' })).map((text) => Buffer.from(text))
  await fc.assert(
    fc.asyncProperty(pieces(texts), async (chunks) => {
      for (const { type, data } of await heard(chunks)) {
        expect(type).toBeTypeOf('string')
        expect(Object.getPrototypeOf(data)).toBe(Object.prototype)
      }
    }),
    { numRuns: 150 },
  )
})

it('data that are a text are no data: spread, it would be a key for each letter', async () => {
  const text = JSON.stringify('x'.repeat(1_000_000))
  const [event] = await heard([Buffer.from(`{"type":"info","data_length":${text.length}}\n${text}`)])
  expect(event).toMatchObject({ type: 'info', data: {} })
})

it('what says that it is larger than anything is not waited for', async () => {
  expect(await heard([Buffer.from('{"type":"info","payload_length":9007199254740991}\n')])).toEqual([])
})
