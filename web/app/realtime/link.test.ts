import { decodeFrame } from '@sotto/gateway/protocol/frame.ts'
import { encodeFrame } from '@sotto/gateway/protocol/frame.ts'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLink, type Connection } from './link.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const cancel = { type: 'response.cancel' } as const
const ask = { type: 'response.create' } as const

describe('the link', () => {
  it('acknowledges every sixteenth message, and each second what came', () => {
    const { wires, link } = start()
    const [wire] = wires
    wire!.say(created('one'))
    for (let count = 2; count <= 15; count += 1) wire!.say({ type: 'x.duck', on: true })
    expect(wire!.acks()).toEqual([])
    wire!.say(encodeFrame({ stream: 1, offset: 0, samples: new Int16Array(10) }).buffer)
    expect(wire!.acks()).toEqual([16])
    wire!.say({ type: 'x.ack', received: 0 })
    vi.advanceTimersByTime(1_000)
    expect(wire!.acks()).toEqual([16])
    wire!.say({ type: 'x.duck', on: false })
    vi.advanceTimersByTime(1_000)
    expect(wire!.acks()).toEqual([16, 17])
    link.close()
  })

  it('sends again, in order, what the gateway had not had', () => {
    const { wires, link, states } = start()
    wires[0]!.say(created('one'))
    link.send(cancel)
    link.sendSamples(new Int16Array(640))
    wires[0]!.say({ type: 'x.ack', received: 1 })
    wires[0]!.told.closed()
    link.sendSamples(new Int16Array(640))
    link.send({ type: 'input_audio_buffer.commit' })
    vi.advanceTimersByTime(400)
    expect(wires[1]!.query).toBe('?resume=one&received=1&conversation=c1')
    expect(wires[1]!.sent).toEqual([])
    wires[1]!.say({ type: 'x.resumed', received: 2 })
    expect(wires[1]!.sent.map(show)).toEqual(['640 samples at 640', 'input_audio_buffer.commit'])
    expect(states).toEqual(['open', 'reconnecting', 'open'])
    link.close()
  })

  it('notices within seconds that nothing comes, and asks again until something does', () => {
    const { wires, link } = start()
    wires[0]!.say(created('one'))
    vi.advanceTimersByTime(4_000)
    wires[0]!.say({ type: 'x.ack', received: 0 })
    vi.advanceTimersByTime(5_000)
    expect(wires).toHaveLength(1)
    vi.advanceTimersByTime(1_400)
    expect(wires).toHaveLength(2)
    expect(wires[0]!.closed).toBe(true)
    // What the dead one still says is not heard twice.
    wires[0]!.say({ type: 'x.duck', on: true })
    vi.advanceTimersByTime(8_000)
    expect(wires.map(({ query }) => query).slice(1)).toEqual([
      '?resume=one&received=1&conversation=c1',
      '?resume=one&received=1&conversation=c1',
    ])
    link.close()
  })

  it('brings to a new session what the lost one can’t have had, and counts from nothing', () => {
    const { wires, link } = start()
    wires[0]!.say(created('one'))
    link.sendSamples(new Int16Array(640))
    wires[0]!.say({ type: 'x.ack', received: 1 })
    wires[0]!.told.closed()
    link.sendSamples(new Int16Array(320))
    link.send({ type: 'x.playback', item_id: 'old', played_ms: 5 })
    link.sendSamples(new Int16Array(320))
    link.send(ask)
    vi.advanceTimersByTime(400)
    wires[1]!.say(created('two'))
    expect(wires[1]!.sent.map(show)).toEqual(['320 samples at 0', '320 samples at 320', 'response.create'])
    wires[1]!.told.closed()
    vi.advanceTimersByTime(400)
    expect(wires[2]!.query).toBe('?resume=two&received=1&conversation=c1')
    link.close()
  })

  it('begins a new session where more was said meanwhile than can be kept', () => {
    const { wires, link, overflows } = start()
    wires[0]!.say(created('one'))
    wires[0]!.told.closed()
    for (let second = 0; second < 400; second += 1) link.sendSamples(new Int16Array(16_000))
    expect(overflows()).toBe(1)
    vi.advanceTimersByTime(400)
    wires[1]!.say({ type: 'x.resumed', received: 0 })
    expect(wires[1]!.sent).toEqual([])
    expect(wires[2]!.query).toBe('?conversation=c1')
    link.close()
  })

  it('goes to another session, and takes along only what is said from then on', () => {
    const { wires, link, states } = start()
    wires[0]!.say(created('one'))
    link.send(cancel)
    link.restart(1000)
    expect(wires[0]!.closed).toBe(true)
    expect(wires[1]!.query).toBe('?conversation=c1')
    link.send(ask)
    wires[0]!.say({ type: 'x.duck', on: true })
    wires[1]!.say(created('two'))
    expect(wires[1]!.sent.map(show)).toEqual(['response.create'])
    expect(states).toEqual(['open', 'open'])
    link.close()
  })

  it('tries again at once when the network comes back', () => {
    const { wires, link } = start()
    wires[0]!.say(created('one'))
    wires[0]!.told.closed()
    link.hurry()
    expect(wires).toHaveLength(2)
    link.hurry()
    expect(wires).toHaveLength(2)
    link.close()
  })
})

interface FakeWire {
  readonly query: string
  readonly told: { message(data: string | ArrayBuffer): void; closed(): void }
  readonly sent: (string | Uint8Array)[]
  closed: boolean
  say(message: object): void
  acks(): number[]
}

function start() {
  const wires: FakeWire[] = []
  const states: Connection[] = []
  let overflowed = 0
  const link = createLink({
    dial(query, told) {
      const wire: FakeWire = {
        query,
        told,
        sent: [],
        closed: false,
        say: (message) => told.message(message instanceof ArrayBuffer ? message : JSON.stringify(message)),
        acks: () =>
          wire.sent
            .filter((data) => typeof data === 'string')
            .map((data) => JSON.parse(data))
            .filter(({ type }) => type === 'x.ack')
            .map(({ received }) => received),
      }
      wires.push(wire)
      return {
        send: (data) => wire.sent.push(data),
        close() {
          wire.closed = true
        },
      }
    },
    conversation: () => (wires.length > 0 ? 'c1' : undefined),
    event: () => {},
    frame: () => {},
    changed: (state) => states.push(state),
    overflowed() {
      overflowed += 1
    },
  })
  link.open()
  return { wires, link, states, overflows: () => overflowed }
}

const created = (id: string) => ({ type: 'session.created', session: { id } })

function show(data: string | Uint8Array): string {
  if (typeof data === 'string') return JSON.parse(data).type
  const frame = decodeFrame(data)
  return 'samples' in frame ? `${frame.samples.length} samples at ${frame.offset}` : 'no samples'
}
