/** What a mesh or a relay of somebody else's may send: frames, packets in them, and codes that people paste. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { deep, jsonText, jsonValue, mutated } from '#engines/json.fixture.ts'
import { cleanPayload, readReceived, readSent } from './frames.ts'
import { readInvitationCode, writeInvitationCode } from './invitation.ts'
import { maxMessageBytes, readPacket, writePacket } from './packet.ts'

const frame = fc.record({
  type: fc.constantFrom(
    'gateway_auth',
    'gateway_discover',
    'gateway_relay',
    'gateway_broadcast',
    'gateway_update_rooms',
    'gateway_auth_ok',
    'gateway_discover_result',
    'gateway_incoming',
    'error',
  ),
  meshId: fc.string(),
  secret: fc.string(),
  name: fc.string(),
  message: fc.string(),
  targetMeshId: fc.string(),
  fromMeshId: fc.string(),
  fromMeshName: fc.string(),
  publicRooms: fc.array(fc.string()),
  participants: fc.constant([]),
  instances: fc.constant([]),
  payload: jsonValue,
})

describe('a frame of the mesh’s', () => {
  it('is read or passed over, and what is let through of it can be written again', () => {
    const texts = fc.oneof(
      jsonText,
      mutated(frame).map((object) => JSON.stringify(object)),
      fc.string({ unit: 'binary' }),
    )
    fc.assert(
      fc.property(texts, (text) => {
        for (const read of [readSent(text), readReceived(text)]) {
          if (!read) continue
          expect(Object.getPrototypeOf(read)).toBe(Object.prototype)
          if ('payload' in read) JSON.stringify(cleanPayload(read.payload))
          if ('publicRooms' in read) expect(read.publicRooms.length).toBeLessThanOrEqual(100)
        }
        expect(Object.keys(Object.prototype)).toEqual([])
      }),
      { numRuns: 500 },
    )
  })

  it('that is nested too deep to be written again is passed over', () => {
    const text = `{"type":"gateway_relay","targetMeshId":"bob","payload":{"message":${deep}}}`
    expect(readSent(text)).toBeUndefined()
  })
})

describe('a packet', () => {
  const message = fc.tuple(
    fc.string({ minLength: 1, maxLength: 64 }),
    jsonText.filter((text) => Buffer.byteLength(text) < maxMessageBytes),
  )
  it('comes out as it went in, as far as it has room', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), fc.nat(), fc.nat(), (messages, epoch, first) => {
        const numbered = messages.map(([kind, body], at) => ({ number: first + at, kind, body }))
        const { payload, count } = writePacket({ epoch, number: first }, { epoch, first }, numbered)
        const read = readPacket(JSON.parse(payload))
        expect(read?.acknowledged).toEqual({ epoch, number: first })
        expect(read?.messages).toEqual(
          messages.slice(0, count).map(([kind, body]) => ({ kind, body: JSON.parse(body) as unknown })),
        )
      }),
    )
  })

  it('or is none of ours, whatever it is', () => {
    const content = fc.record({ v: fc.constant(1), a: fc.tuple(fc.nat(), fc.nat()), m: fc.array(jsonValue) })
    const sent = mutated(content).map((inner) => ({ type: 'sotto', message: { content: inner } }))
    fc.assert(
      fc.property(fc.oneof(jsonValue, sent), (payload) => {
        for (const { kind } of readPacket(payload)?.messages ?? [])
          expect(kind.length).toBeLessThanOrEqual(64)
      }),
      { numRuns: 400 },
    )
  })
})

describe('an invitation’s code', () => {
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((part) => Buffer.from(part))
  const code = fc.record({
    token: bytes.map((part) => part.toString('base64url')),
    fingerprints: fc.array(bytes, { minLength: 1, maxLength: 4 }),
  })

  it('is read as it was written, and with a slip of the hand not at all', () => {
    fc.assert(
      fc.property(code, fc.nat(), fc.stringMatching(/^[\w-]$/), (made, place, letter) => {
        const text = writeInvitationCode(made)
        expect(readInvitationCode(`  ${text}\n`)).toEqual(made)
        const at = place % text.length
        const slip = text.slice(0, at) + letter + text.slice(at + 1)
        if (slip !== text) expect(readInvitationCode(slip)).toBeUndefined()
      }),
    )
  })

  it('or is none, whatever is pasted', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(readInvitationCode(text)).toBeUndefined()
        expect(readInvitationCode(`sotto-friend-${text}`)).toBeUndefined()
      }),
    )
  })
})
