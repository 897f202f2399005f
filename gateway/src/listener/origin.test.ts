import { describe, expect, it } from 'vitest'
import { checkOrigin, ownNames } from './origin.ts'

const own = ownNames(['10.77.0.1', 'fd00::1', 'sotto.internal'], 8443)

describe('Host and Origin', () => {
  for (const host of ['10.77.0.1:8443', '[fd00::1]:8443', 'SOTTO.internal:8443'])
    it(`let ${host} in, alone and from its own page`, () => {
      expect(checkOrigin(own, host, undefined).allow).toBe(true)
      expect(checkOrigin(own, host, 'https://10.77.0.1:8443').allow).toBe(true)
    })

  for (const host of [undefined, '', '10.77.0.1', '10.77.0.1:443', 'rebound.example:8443'])
    it(`answer 421 to ${host ?? 'no host'}`, () => {
      expect(checkOrigin(own, host, undefined)).toMatchObject({ allow: false, status: 421 })
    })

  for (const origin of [
    'https://evil.example',
    'http://10.77.0.1:8443',
    'null',
    'https://10.77.0.1:8443.evil.example',
  ])
    it(`answer 403 to a page from ${origin}`, () => {
      expect(checkOrigin(own, '10.77.0.1:8443', origin)).toMatchObject({ allow: false, status: 403 })
    })

  it('leave the port out where browsers do', () => {
    expect(checkOrigin(ownNames(['10.77.0.1'], 443), '10.77.0.1', 'https://10.77.0.1').allow).toBe(true)
  })
})
