/** What the other end of a tunnel may send that means ill: the wire fails, or nothing is told but what may be. */
import { validateHeaderValue } from 'node:http'
import * as fc from 'fast-check'
import type { Dispatcher } from 'undici'
import { describe, expect, it } from 'vitest'
import { deep, jsonText } from '#engines/json.fixture.ts'
import { TunnelDispatcher } from './dispatcher.ts'
import { decode, encode, encodeCredit, firstCredit, maxDataBytes, type Frame } from './frame.ts'
import { createMux } from './mux.ts'
import { noted } from './tunnel.fixture.ts'

const stream = fc.nat(0xff_ff_ff_ff)
const payload = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))
const kind = fc.constantFrom<Frame['kind']>('open', 'head', 'data', 'end', 'reset')

describe('a frame of the tunnel', () => {
  it('comes out as it went in', () => {
    fc.assert(
      fc.property(kind, stream, payload, (one, at, bytes) => {
        expect(decode(encode(one, at, bytes))).toEqual({ kind: one, stream: at, payload: bytes })
      }),
    )
    fc.assert(
      fc.property(stream, stream, (at, bytes) => {
        expect(decode(encodeCredit(at, bytes))?.payload.readUInt32BE()).toBe(bytes)
      }),
    )
  })

  it('or is none, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const read = decode(Buffer.from(bytes))
        if (read) expect(encode(read.kind, read.stream, read.payload)).toEqual(Buffer.from(bytes))
      }),
      { numRuns: 500 },
    )
  })
})

/** Of few streams, so that they meet; whole frames and what is none. */
const sent = fc.oneof(
  { weight: 20, arbitrary: fc.tuple(kind, fc.nat(4), payload).map((frame) => encode(...frame)) },
  { weight: 5, arbitrary: fc.tuple(fc.nat(4), stream).map((credit) => encodeCredit(...credit)) },
  { weight: 3, arbitrary: fc.nat(4).map((at) => encode('data', at, Buffer.alloc(maxDataBytes))) },
  { weight: 1, arbitrary: payload },
)

describe('the other end of a tunnel, whatever it sends,', () => {
  it('fails the wire, or is told nothing of a stream past its end nor more than its credit', () => {
    fc.assert(
      fc.property(fc.array(sent, { maxLength: 60 }), fc.boolean(), (frames, answers) => {
        const streams: ReturnType<typeof noted>[] = []
        const failures: string[] = []
        const mux = createMux(
          {
            send: () => {},
            free: true,
            soon: (task) => task(),
            fail(reason) {
              failures.push(reason)
              mux.close(reason)
            },
          },
          answers
            ? (_, opened) => {
                const told = noted()
                streams.push(told)
                opened.write(Buffer.alloc(firstCredit * 2))
                return told
              }
            : undefined,
        )
        if (!answers)
          for (let at = 0; at < 3; at += 1) {
            const told = noted()
            streams.push(told)
            mux.request('{}', told).write(Buffer.alloc(firstCredit * 2))
          }
        for (const frame of frames) mux.receive(frame)
        for (const { events, bytes } of streams) {
          expect(bytes).toBeLessThanOrEqual(firstCredit)
          const over = events.findIndex((event) => event.startsWith('reset') || (event === 'end' && !answers))
          if (over !== -1) expect(events.slice(over + 1)).toEqual([])
        }
        expect(failures.length).toBeLessThanOrEqual(1)
        if (failures.length > 0) expect(mux.open).toBe(0)
      }),
      { numRuns: 300 },
    )
  })
})

/** What undici's handlers count on, and HTTP's parser keeps for them. */
function asked() {
  const told: string[] = []
  let bytes = 0
  const frames: Buffer[] = []
  const mux = createMux({
    send: (frame) => void frames.push(frame),
    free: true,
    soon: (task) => task(),
    fail() {},
  })
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart() {},
    onResponseStart(_, status, headers) {
      // As `writeHead` does for what it can't write.
      for (const [name, value] of Object.entries(headers)) validateHeaderValue(name, String(value))
      told.push(`start ${status}`)
    },
    onResponseData(_, chunk) {
      bytes += chunk.length
      told.push('data')
    },
    onResponseEnd: () => void told.push('end'),
    onResponseError: () => void told.push('error'),
  }
  const path = '/api/chat'
  new TunnelDispatcher(mux).dispatch({ origin: 'http://lender', method: 'POST', path, body: '{}' }, handler)
  return {
    told,
    frames,
    get bytes() {
      return bytes
    },
    say: (kindOf: Frame['kind'], text: string | Buffer = '') =>
      mux.receive(encode(kindOf, 1, Buffer.from(text))),
  }
}

describe('a lender’s answer', () => {
  for (const [what, headers] of [
    ['a header that holds a line of its own', { 'content-type': 'text/x\r\nset-cookie: a=b' }],
    ['a header that HTTP does not have', { 'a b': 'c' }],
    ['a length that is none', { 'content-length': '1, 2' }],
  ] as const)
    it(`with ${what} is given up (it ended the gateway)`, () => {
      const { say, told, frames } = asked()
      say('head', JSON.stringify({ status: 200, headers }))
      say('data', 'x')
      expect(told).toEqual(['error'])
      expect(decode(frames.at(-1) ?? Buffer.alloc(0))?.kind).toBe('reset')
    })

  it('holds as many bytes as its head says: what is past them would be the client’s next answer', () => {
    const answer = asked()
    answer.say('head', JSON.stringify({ status: 200, headers: { 'content-length': '3' } }))
    answer.say('data', 'abc')
    answer.say('data', 'HTTP/1.1 200 OK\r\n')
    expect([answer.told, answer.bytes]).toEqual([['start 200', 'data', 'error'], 3])
    const short = asked()
    short.say('head', JSON.stringify({ status: 200, headers: { 'content-length': '3' } }))
    short.say('data', 'ab')
    short.say('end')
    expect(short.told).toEqual(['start 200', 'data', 'error'])
  })

  it('is one head, its data and one end, or an error, whatever comes in whichever order', () => {
    const heads = fc.oneof(
      jsonText,
      fc.constantFrom(
        deep,
        '{"status":200,"headers":{}}',
        '{"status":200,"headers":{"content-length":"4"}}',
        '{"status":204,"headers":{"content-length":"4"}}',
        '{"status":99,"headers":{}}',
        '{"status":200,"headers":{"__proto__":"x"}}',
      ),
    )
    const step = fc.oneof(
      heads.map((json) => ['head', json] as const),
      fc.constantFrom(['data', 'ab'] as const, ['data', ''] as const, ['end', ''] as const),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const { say, told } = asked()
        for (const [kindOf, text] of steps) say(kindOf, text)
        say('reset', 'over')
        expect(told.join(' ')).toMatch(/^(?:start \d{3}(?: data)* (?:end|error)|error)$/)
      }),
      { numRuns: 500 },
    )
  })
})
