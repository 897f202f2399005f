import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { jsonValue, mutated } from '#engines/json.fixture.ts'
import { clientEvent, type ClientEventInput } from './events.ts'

const text = fc.string({ unit: 'binary' })
const item = fc.oneof(
  fc.record({
    type: fc.constant('message' as const),
    role: fc.constantFrom('user' as const, 'system' as const),
    content: fc.array(fc.record({ type: fc.constant('input_text' as const), text }), { minLength: 1 }),
  }),
  fc.record({ type: fc.constant('function_call_output' as const), call_id: fc.constant('c'), output: text }),
)
const right: fc.Arbitrary<ClientEventInput> = fc.oneof(
  fc.record({ type: fc.constant('conversation.item.create' as const), item }),
  fc.record({
    type: fc.constant('session.update' as const),
    session: fc.record({
      instructions: text,
      output_modalities: fc.constant<('audio' | 'text')[]>(['text']),
    }),
  }),
  fc.record({ type: fc.constant('response.create' as const), response: fc.record({ instructions: text }) }),
  fc.record({
    type: fc.constant('input_audio_buffer.append' as const),
    audio: fc.uint8Array().map((sound) => Buffer.from(sound).toString('base64')),
  }),
  fc.record({ type: fc.constant('x.ack' as const), received: fc.nat() }),
)

it('an event that is right is taken as it is', () => {
  fc.assert(
    fc.property(right, (event) => {
      expect(clientEvent.parse(event)).toEqual(event)
    }),
  )
})

it('whatever else comes is taken or refused by a field, and reaches no prototype', () => {
  fc.assert(
    fc.property(fc.oneof(jsonValue, mutated(right)), (event) => {
      const read = clientEvent.safeParse(event)
      if (read.success) expect(Object.getPrototypeOf(read.data)).toBe(Object.prototype)
      else expect(read.error.issues.length).toBeGreaterThan(0)
      expect(Object.keys(Object.prototype)).toEqual([])
    }),
    { numRuns: 500 },
  )
})

it('the largest piece of sound that a socket takes is looked through', () => {
  const audio = 'AAAA'.repeat(4_000_000)
  expect(clientEvent.safeParse({ type: 'input_audio_buffer.append', audio }).success).toBe(true)
  expect(clientEvent.safeParse({ type: 'input_audio_buffer.append', audio: `${audio}!` }).success).toBe(false)
})
