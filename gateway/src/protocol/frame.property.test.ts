import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { decodeFrame, encodeFrame, maxFrameSamples } from './frame.ts'

const place = { stream: fc.nat(0xff_ff), offset: fc.nat(0xff_ff_ff_ff) }
/** Whole frames, and what begins like one. */
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 4_000 }),
  fc
    .tuple(fc.constantFrom(1, 2), fc.uint8Array({ minLength: 6, maxLength: 4_000 }))
    .map(([kind, rest]) => Uint8Array.of(kind, 0, ...rest)),
)

it('any frame comes out as it went in', () => {
  const sound = fc.record({ ...place, samples: fc.int16Array({ maxLength: maxFrameSamples }) })
  const packed = fc.record({ ...place, packet: fc.uint8Array({ minLength: 1, maxLength: 3_832 }) })
  fc.assert(
    fc.property(fc.oneof(sound, packed), (frame) => {
      expect(decodeFrame(encodeFrame(frame))).toEqual(frame)
    }),
  )
})

it('any bytes are a frame that is the same when it is packed again, or a fault in one sentence', () => {
  fc.assert(
    fc.property(bytes, fc.nat(3), (given, shift) => {
      const askew = new Uint8Array(given.length + shift).subarray(shift)
      askew.set(given)
      const read = decodeFrame(askew)
      if ('fault' in read) expect(read.fault).toMatch(/^An? .*\.$/)
      else expect(encodeFrame(read)).toEqual(given)
    }),
    { numRuns: 500 },
  )
})
