import { describe, expect, it } from 'vitest'
import { decodeFrame, encodeFrame, maxFrameSamples } from './frame.ts'

describe('an audio frame', () => {
  it('comes out as it went in, from any place in a buffer', () => {
    const frame = { stream: 7, offset: 4_000_000_000, samples: Int16Array.of(0, 1, -1, 32_767, -32_768) }
    expect(decodeFrame(encodeFrame(frame))).toEqual(frame)
    const shifted = Buffer.concat([Buffer.from([7]), encodeFrame(frame)]).subarray(1)
    expect(decodeFrame(shifted)).toEqual(frame)
  })

  it('of Opus comes out as it went in', () => {
    const frame = { stream: 0, offset: 320, packet: Uint8Array.of(7, 8, 9) }
    expect(decodeFrame(encodeFrame(frame))).toEqual(frame)
  })

  for (const [what, bytes, fault] of [
    ['that is shorter than its header', [1, 0, 0], 'header of 8 bytes'],
    ['of WebM', [0x1a, 0x45, 0xdf, 0xa3, 0, 0, 0, 0, 1, 2], 'holds PCM'],
    ['of Opus, but without a packet', [2, 0, 0, 0, 0, 0, 0, 0], 'packet of Opus'],
    ['with half a sample', [1, 0, 0, 0, 0, 0, 0, 0, 1], 'whole samples'],
    ['with flags', [1, 1, 0, 0, 0, 0, 0, 0, 1, 2], 'flags 0'],
  ] as const)
    it(`${what} is refused`, () => {
      expect(decodeFrame(Uint8Array.from(bytes))).toMatchObject({ fault: expect.stringContaining(fault) })
    })

  it('longer than a second is refused', () => {
    expect(
      decodeFrame(encodeFrame({ stream: 0, offset: 0, samples: new Int16Array(maxFrameSamples) })),
    ).toHaveProperty('samples')
    expect(
      decodeFrame(encodeFrame({ stream: 0, offset: 0, samples: new Int16Array(maxFrameSamples + 1) })),
    ).toHaveProperty('fault')
  })
})
