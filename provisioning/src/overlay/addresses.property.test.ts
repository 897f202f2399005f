import * as fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { describe, expect, it } from 'vitest'
import { addressesAt, hubAddresses, lowestFree, overlaps, parseRange4 } from './addresses.ts'
import { isKey, makeKeyPair, pairPresharedKey, publicKeyOf } from './keys.ts'

const cidr = fc.tuple(fc.ipV4(), fc.integer({ min: 16, max: 29 })).map(([ip, bits]) => `${ip}/${bits}`)
const range = fc
  .tuple(fc.constantFrom('10', '192.168', '172.16', '100.64'), fc.ipV4(), fc.integer({ min: 16, max: 29 }))
  .map(([start, ip, bits]) => `${[...start.split('.'), ...ip.split('.')].slice(0, 4).join('.')}/${bits}`)
const range6 = fc.nat(0xff_ff).map((part) => `fd12:${part.toString(16)}:1::/64`)

describe('a range, whatever is typed,', () => {
  it('is a private one in its one spelling, or none', () => {
    fc.assert(
      fc.property(fc.oneof(cidr, range, fc.string(), fc.ipV4Extended(), fc.ipV6()), (text) => {
        const read = parseRange4(text)
        if (read === undefined) return
        expect(parseRange4(read)).toBe(read)
        expect(ipaddr.IPv4.parse(read.split('/')[0] ?? '').range()).toMatch(/^(?:private|carrierGradeNat)$/)
        expect(overlaps(read, text)).toBe(true)
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('the plan of any network', () => {
  it('gives each number one pair inside both ranges, none of them the hub’s', () => {
    fc.assert(
      fc.property(range, range6, fc.nat(70_000), (text, six, number) => {
        const range4 = parseRange4(text)
        if (range4 === undefined) return
        const ranges = { range4, range6: six }
        const hub = hubAddresses(ranges)
        const pair = addressesAt(ranges, number)
        const bits = Number(range4.split('/')[1])
        expect(pair === undefined).toBe(number < 2 || number > 2 ** (32 - bits) - 2)
        if (!pair) return
        expect([overlaps(range4, `${pair.address4}/32`), overlaps(six, `${pair.address6}/128`)]).toEqual([
          true,
          true,
        ])
        expect(pair.address4).not.toBe(hub.address4)
        expect(pair.address6).not.toBe(hub.address6)
      }),
      { numRuns: 500 },
    )
  })

  it('gives the lowest number that is free, until all are taken', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 2, max: 14 })), (taken) => {
        const free = lowestFree({ range4: '10.77.0.0/28', range6: 'fd00::/64' }, new Set(taken))
        const all = Array.from({ length: 13 }, (_, at) => at + 2)
        expect(free).toBe(all.find((number) => !taken.includes(number)))
      }),
    )
  })
})

describe('a key of WireGuard’s', () => {
  it('is 32 bytes in the one spelling, and nothing else', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(new Uint8Array(32))), (bytes) => {
        const text = Buffer.from(bytes).toString('base64')
        expect(isKey(text)).toBe(bytes.length === 32)
        for (const other of [`${text}\n`, ` ${text}`, text.replaceAll('=', '')])
          expect(isKey(other)).toBe(false)
      }),
    )
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void isKey(text)))
  })

  it('has the same public key each time, and a pair the same secret from either side', () => {
    const [hub, one, other] = [makeKeyPair(), makeKeyPair(), makeKeyPair()]
    expect(publicKeyOf(hub.privateKey)).toBe(hub.publicKey)
    const secret = pairPresharedKey(hub.privateKey, one.publicKey, other.publicKey)
    expect(pairPresharedKey(hub.privateKey, other.publicKey, one.publicKey)).toBe(secret)
    expect(pairPresharedKey(one.privateKey, one.publicKey, other.publicKey)).not.toBe(secret)
  })
})
