import { describe, expect, it } from 'vitest'
import { decode, encode, encodeCredit, firstCredit, maxDataBytes, type Frame } from './frame.ts'
import { createMux, type Stream } from './mux.ts'
import { connectMuxes, noted } from './tunnel.fixture.ts'

/** Streams as the lender has them, with what it was told of each. */
function open() {
  const accepted: { json: string; stream: Stream; told: ReturnType<typeof noted> }[] = []
  const ends = connectMuxes((json, stream) => {
    const told = noted()
    accepted.push({ json, stream, told })
    return told
  })
  const ask = (json = '{}') => {
    const told = noted()
    const stream = ends.gateway.request(json, told)
    const [other] = accepted.slice(-1)
    if (!other) throw new Error('not accepted')
    return { told, stream, other }
  }
  return { ends, accepted, ask }
}

describe('a stream of the tunnel', () => {
  it('carries bytes both ways, whatever they are, and ends with its answer', () => {
    const { ends, ask } = open()
    const all = Buffer.from(Array.from({ length: 256 }, (_, at) => at))
    const { told, stream, other } = ask('{"path":"/x"}')
    expect(other.json).toBe('{"path":"/x"}')
    stream.write(all)
    stream.end()
    expect(other.told.events).toEqual(['data 256', 'end'])
    other.stream.head('{"status":200}')
    other.stream.write(all)
    other.stream.end()
    expect(told.events).toEqual(['head {"status":200}', 'data 256', 'end'])
    expect([ends.gateway.open, ends.lender.open]).toEqual([0, 0])
  })

  it('puts what is written at once into one frame, and nothing is lost where it is given up then', () => {
    const frames: Frame[] = []
    const tasks: (() => void)[] = []
    const mux = createMux({
      send: (frame) => void frames.push(decode(Buffer.from(frame))!),
      free: true,
      soon: (task) => void tasks.push(task),
      fail() {},
    })
    const stream = mux.request('{}', noted())
    const pieces = Array.from({ length: 200 }, (_, at) => Buffer.from(`piece ${at}, `.repeat(12)))
    const written = Buffer.concat(pieces)
    for (const piece of pieces) stream.write(piece)
    for (const task of tasks.splice(0)) task()
    const sent = frames.filter(({ kind }) => kind === 'data').map(({ payload }) => payload)
    expect(sent).toHaveLength(Math.ceil(written.length / maxDataBytes))
    expect(Buffer.concat(sent).equals(written)).toBe(true)
    stream.write(Buffer.from('the last'))
    stream.reset('enough')
    expect(frames.slice(-2).map(({ kind, payload }) => `${kind} ${payload.toString()}`)).toEqual([
      'data the last',
      'reset enough',
    ])
  })

  it('that nobody reads holds a window of bytes, and the ninety-nine beside it all they ask for', () => {
    const { ask } = open()
    const stalled = ask()
    const rest = Array.from({ length: 99 }, () => ask())
    const chunk = Buffer.alloc(64 * 1024)
    for (let round = 0; round < 20; round += 1)
      for (const { other, stream, told } of [stalled, ...rest]) {
        other.stream.write(chunk)
        if (told !== stalled.told) stream.consumed(chunk.length)
      }
    expect(stalled.told.bytes).toBe(firstCredit)
    for (const { told } of rest) expect(told.bytes).toBe(20 * chunk.length)
    stalled.stream.consumed(firstCredit)
    expect(stalled.told.bytes).toBe(2 * firstCredit)
    expect(stalled.other.told.events).not.toContain('drain')
  })

  it('tells its writer to wait, and when to go on (defect 0.3 i: no backpressure)', () => {
    const { ask } = open()
    const { other, stream } = ask()
    const chunk = Buffer.alloc(firstCredit)
    expect(other.stream.write(chunk)).toBe(true)
    expect(other.stream.write(Buffer.alloc(100_000))).toBe(false)
    expect(other.told.events).toEqual([])
    stream.consumed(firstCredit)
    expect(other.told.events).toEqual(['drain'])
  })

  it('has its turn on a slow line: a word goes before the rest of a long answer', () => {
    const { ends, ask } = open()
    const long = ask()
    const short = ask()
    ends.free = false
    long.other.stream.write(Buffer.alloc(200_000))
    short.other.stream.write(Buffer.from('word'))
    const order: string[] = []
    const note = (name: string, told: ReturnType<typeof noted>) => {
      const { data } = told
      told.data = (chunk) => {
        order.push(name)
        data(chunk)
      }
    }
    note('long', long.told)
    note('short', short.told)
    ends.free = true
    expect(order.slice(0, 2)).toEqual(['long', 'short'])
    expect(order.filter((name) => name === 'long')).toHaveLength(Math.ceil(200_000 / maxDataBytes))
  })

  it('that the client leaves is reset at the lender (defect 0.3 h: abort not sent down the tunnel)', () => {
    const { ends, ask } = open()
    const { told, stream, other } = ask()
    stream.reset('cancelled')
    expect(other.told.events).toEqual(['reset cancelled'])
    other.stream.write(Buffer.from('late'))
    other.stream.end()
    expect(told.events).toEqual([])
    expect([ends.gateway.open, ends.lender.open]).toEqual([0, 0])
  })

  it('fails at once when the tunnel does (defect 0.3 e: pending requests waited 300 s)', async () => {
    const { ends, ask } = open()
    const one = ask()
    const two = ask()
    ends.gateway.close('the connection broke')
    expect(one.told.events).toEqual(['reset the connection broke'])
    expect(two.told.events).toEqual(['reset the connection broke'])
    const late = noted()
    ends.gateway.request('{}', late)
    await Promise.resolve()
    expect(late.events).toEqual(['reset the connection broke'])
  })

  it('is answered by its own tunnel alone (defect 0.3 c: one map of requests for all tenants)', () => {
    const mine = open()
    const foreign = open()
    const { told } = mine.ask()
    foreign.ask()
    // The other tunnel's lender answers a stream of the same number, and one that was never opened.
    foreign.ends.forge(encode('data', 1, Buffer.from('not yours')))
    mine.ends.forge(encode('data', 7, Buffer.from('nobody’s')))
    mine.ends.forge(encode('end', 7))
    expect(told.events).toEqual([])
  })
})

describe('a peer that does not keep to the protocol', () => {
  it.each([
    ['sends no frame', Buffer.from('hello?'), 'no frame'],
    ['sends half a frame', Buffer.from([3, 0, 0]), 'no frame'],
    ['sends a credit of no number', encode('credit', 1, Buffer.from('x')), 'no frame'],
    ['opens a stream towards the gateway', encode('open', 1), 'a stream that may not be opened'],
  ])('%s: the wire fails', (_what, frame, failure) => {
    const { ends, ask } = open()
    ask()
    ends.forge(frame)
    expect(ends.failures).toEqual([failure])
  })

  it('sends more than its credit: the wire fails', () => {
    const { ends, ask } = open()
    ask()
    for (let sent = 0; sent <= firstCredit; sent += maxDataBytes)
      ends.forge(encode('data', 1, Buffer.alloc(maxDataBytes)))
    expect(ends.failures).toEqual(['more data than credit'])
  })

  it('opens a stream with a number that was used: the wire fails', () => {
    const { ends, ask } = open()
    ask()
    ends.lender.receive(encode('open', 1))
    expect(ends.failures).toEqual(['a stream that may not be opened'])
  })

  it('gives credit to a stream that is over: nothing happens', () => {
    const { ends, ask } = open()
    const { other } = ask()
    other.stream.end()
    ends.lender.receive(encodeCredit(1, 1_000))
    expect(ends.failures).toEqual([])
  })
})
