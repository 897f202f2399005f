import { describe, expect, it } from 'vitest'
import {
  addressesAt,
  freeRange4,
  hubAddresses,
  makeRange6,
  lowestFree,
  overlaps,
  parseRange4,
} from './addresses.ts'

const ranges = { range4: '10.77.0.0/24', range6: 'fd12:3456:789a::/64' }

describe('the address plan', () => {
  it('gives the hub the first address of each range', () => {
    expect(hubAddresses(ranges)).toEqual({ address4: '10.77.0.1', address6: 'fd12:3456:789a::1' })
  })

  it('gives the same host number in both ranges', () => {
    expect(addressesAt(ranges, 2)).toEqual({ address4: '10.77.0.2', address6: 'fd12:3456:789a::2' })
    expect(addressesAt({ ...ranges, range4: '10.77.0.0/16' }, 256)).toEqual({
      address4: '10.77.1.0',
      address6: 'fd12:3456:789a::100',
    })
  })

  it('finds the lowest number that is free', () => {
    expect(lowestFree(ranges, new Set())).toBe(2)
    expect(lowestFree(ranges, new Set([2, 4]))).toBe(3)
  })

  it('never gives the hub’s or the broadcast address, and says when a range is full', () => {
    const small = { ...ranges, range4: '10.77.0.0/29' }
    for (const number of [0, 1, 7, 8]) expect(addressesAt(small, number), String(number)).toBeUndefined()
    expect(addressesAt(small, 6)?.address4).toBe('10.77.0.6')
    expect(lowestFree(small, new Set([2, 3, 4, 5, 6]))).toBeUndefined()
  })

  it('makes a unique local /64 that differs each time (RFC 4193)', () => {
    const made = [makeRange6(), makeRange6()]
    for (const range of made) expect(overlaps(range, 'fd00::/8')).toBe(true)
    expect(made[0]).not.toBe(made[1])
  })

  it('steps aside for what the host routes already', () => {
    expect(freeRange4([])).toBe('10.77.0.0/24')
    expect(freeRange4(['10.77.0.0/24', '10.77.1.5/32'])).toBe('10.77.2.0/24')
    expect(freeRange4(['10.0.0.0/8'])).toBeUndefined()
  })
})

describe('a range for an overlay', () => {
  it('is a private one of /16 to /29, in its canonical spelling', () => {
    expect(parseRange4('10.77.3.9/22')).toBe('10.77.0.0/22')
    for (const good of ['10.0.0.0/16', '172.31.255.248/29', '192.168.7.0/24', '100.64.0.0/16'])
      expect(parseRange4(good), good).toBe(good)
    for (const bad of [
      '10.0.0.0/15',
      '10.0.0.0/30',
      '8.8.8.0/24',
      '172.32.0.0/16',
      '192.0.2.0/24',
      '10.0.0/24',
      '10.0.0.0',
      'fd00::/64',
      '',
    ])
      expect(parseRange4(bad), bad).toBeUndefined()
  })
})
