/** `wg`'s dumps and files: read whatever they hold, and written so that what is read back is what was meant. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { interfaceConfig, peersConfig, type Peer } from './config.ts'
import { isSo, parsePeers, parseSettings } from './peers.ts'

const key = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('base64'))
const address = fc.oneof(
  fc.ipV4().map((ip) => `${ip}/32`),
  fc.nat(0xff_ff).map((part) => `fd00::${part.toString(16)}/128`),
)
const peer: fc.Arbitrary<Peer> = fc.record(
  {
    publicKey: key,
    presharedKey: key,
    allowedIps: fc.uniqueArray(address, { maxLength: 3 }),
    endpoint: fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 65_535 })).map(([ip, port]) => `${ip}:${port}`),
    keepalive: fc.nat(65_535),
  },
  { requiredKeys: ['publicKey', 'presharedKey', 'allowedIps'] },
)
const peers = fc.uniqueArray(peer, { maxLength: 5, selector: ({ publicKey }) => publicKey })

/** As `wg show … dump` prints them. Source: wg(8). */
function dumpOf(privateKey: string, listenPort: number, all: readonly Peer[]): string {
  const rows = all.map(({ publicKey, presharedKey, endpoint = '(none)', allowedIps, keepalive }) => [
    publicKey,
    presharedKey,
    endpoint,
    allowedIps.join(',') || '(none)',
    0,
    0,
    0,
    keepalive || 'off',
  ])
  return `${[[privateKey, 'PUBLIC=', listenPort, 'off'], ...rows].map((row) => row.join('\t')).join('\n')}\n`
}

describe('a dump', () => {
  it('says of each peer that it is as it was set', () => {
    fc.assert(
      fc.property(key, fc.nat(65_535), peers, (own, port, all) => {
        const dump = dumpOf(own, port, all)
        const live = parseSettings(dump)
        expect([live.privateKey, live.listenPort, live.peers.size]).toEqual([own, port, all.length])
        for (const one of all) expect(isSo(live.peers.get(one.publicKey), one)).toBe(true)
        expect(parsePeers(dump).map(({ publicKey }) => publicKey)).toEqual(all.map((one) => one.publicKey))
      }),
    )
  })

  it('that is none names peers that nobody wants, and throws nothing', () => {
    const field = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('(none)', '', '__proto__', '10.0.0.1'),
    )
    const text = fc
      .array(fc.array(field, { maxLength: 10 }), { maxLength: 5 })
      .map((rows) => rows.map((row) => row.join('\t')).join('\n'))
    fc.assert(
      fc.property(text, peer, (dump, wanted) => {
        const live = parseSettings(dump)
        expect(isSo(live.peers.get(wanted.publicKey), wanted)).toBe(false)
        for (const { receivedBytes, sentBytes } of parsePeers(dump))
          expect([receivedBytes, sentBytes].some(Number.isNaN)).toBe(false)
      }),
      { numRuns: 500 },
    )
  })
})

describe('a file for wg', () => {
  it('holds each peer once, with a line for each setting', () => {
    fc.assert(
      fc.property(key, peers, (privateKey, all) => {
        const text = interfaceConfig({ privateKey }, all)
        expect(text.split('[Peer]\n').length - 1).toBe(all.length)
        for (const line of text.split('\n'))
          expect(line).toMatch(/^(?:|\[(?:Interface|Peer)\]|[A-Za-z]+ = \S.*)$/)
        expect(text.endsWith(peersConfig(all))).toBe(true)
      }),
    )
  })
})
