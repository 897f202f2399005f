/** What people paste, type and scan. */
import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readDuration, readList, readSince, readTime } from '../commands/arguments.ts'
import { Problem } from '../problem.ts'
import { makeSecret, readPrefix } from '../registry/secret.ts'
import { parseLink, type LinkContent } from './link.ts'
import { checkPicture } from './qr.ts'
import { configFileName } from './steps.ts'

const key = (): string => randomBytes(32).toString('base64')
const content: LinkContent = {
  v: 1,
  token: 'x'.repeat(43),
  name: 'phone',
  privateKey: key(),
  presharedKey: key(),
  address4: '10.77.0.9',
  address6: 'fd00::9',
  hub: key(),
  endpoint: '192.0.2.1:51820',
  range4: '10.77.0.0/24',
  range6: 'fd00::/64',
  port: 8443,
  fingerprint: Array(32).fill('AB').join(':'),
  expires: '2030-01-01T00:00:00.000Z',
}
const text = (object: object): string =>
  `https://10.77.0.1:8443/link#${Buffer.from(JSON.stringify(object)).toString('base64url')}`
const typed = fc.string({ unit: 'binary' })

/** Only a `Problem` may come out. */
function ours<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    expect(error).toBeInstanceOf(Problem)
    return undefined
  }
}

describe('a link', () => {
  it('is read as it was written, whatever the device is called', () => {
    fc.assert(
      fc.property(typed, (name) => {
        expect(parseLink(text({ ...content, name }))).toEqual({ ...content, name })
      }),
    )
  })

  it('that is damaged, cut or another one’s is a problem in words', () => {
    const whole = text(content)
    const damaged = fc.oneof(
      typed,
      fc.nat(whole.length - 1).map((end) => whole.slice(0, end)),
      fc
        .tuple(fc.constantFrom(...Object.keys(content)), fc.jsonValue())
        .map(([field, value]) => text({ ...content, [field]: value })),
      fc.jsonValue().map((value) => text(Object(value) as object)),
    )
    fc.assert(
      fc.property(damaged, (given) => {
        const read = ours(() => parseLink(given))
        if (read) expect(Object.getPrototypeOf(read)).toBe(Object.prototype)
      }),
      { numRuns: 400 },
    )
  })
})

describe('what is typed for a time or a list', () => {
  it('is one, or a problem in words', () => {
    const times = fc.oneof(
      typed,
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      fc
        .tuple(fc.integer(), fc.constantFrom('ms', 's', 'm', 'h', 'd', 'w', 'y'))
        .map((parts) => parts.join('')),
      // The library that reads them throws an error of its own for these.
      fc.tuple(fc.stringMatching(/^\d{80,300}$/), fc.constantFrom('s', 'd')).map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(times, (given) => {
        for (const read of [readTime, readSince]) {
          const at = ours(() => read(given))
          if (at) expect(at.toISOString()).toBeTypeOf('string')
        }
        const span = ours(() => readDuration(given))
        if (span !== undefined) expect(Number.isFinite(span)).toBe(true)
        for (const part of readList(given) ?? []) expect(part.trim()).toBe(part)
      }),
      { numRuns: 500 },
    )
  })
})

describe('the text of a key', () => {
  it('is known by its checksum: no slip of the hand passes for another key', () => {
    const { prefix, text: whole } = makeSecret()
    expect(readPrefix(whole)).toBe(prefix)
    const slips = fc.tuple(fc.nat(whole.length - 1), fc.stringMatching(/^[a-zA-Z0-9_-]$/))
    fc.assert(
      fc.property(slips, ([at, letter]) => {
        if (whole[at] !== letter)
          expect(readPrefix(whole.slice(0, at) + letter + whole.slice(at + 1))).toBeUndefined()
      }),
      { numRuns: 500 },
    )
    fc.assert(
      fc.property(typed, (given) => {
        expect(readPrefix(given)).toBeUndefined()
      }),
    )
  })
})

describe('a file’s name', () => {
  it('for wg-quick is one that it takes, whatever the device is called', () => {
    fc.assert(
      fc.property(typed, (name) => {
        expect(configFileName(name)).toMatch(/^[a-z0-9_=+][a-z0-9_=+.-]{0,14}\.conf$/)
      }),
    )
  })

  it('for a QR code is a picture’s, or a problem in words', () => {
    fc.assert(fc.property(typed, (name) => void ours(() => checkPicture(name))))
  })
})
