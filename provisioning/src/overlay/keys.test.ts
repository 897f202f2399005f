import { describe, expect, it } from 'vitest'
import { isKey, makeKeyPair, makePresharedKey, publicKeyOf } from './keys.ts'

describe('keys', () => {
  it('give the public key that `wg pubkey` prints', () => {
    expect(publicKeyOf('QEgSMXVpYmVzdGtleXRoYXRpc25vdGFzZWNyZXRvbmU=')).toBe(
      'mVJNP83MpPmmhRT8AsVMdIYbYGYW4VHdxIbrLFTPj0g=',
    )
  })

  it('come in pairs that belong together, and differ each time', () => {
    const one = makeKeyPair()
    expect(publicKeyOf(one.privateKey)).toBe(one.publicKey)
    expect(makeKeyPair().privateKey).not.toBe(one.privateKey)
    expect(isKey(makePresharedKey())).toBe(true)
  })

  it('are told from other texts', () => {
    for (const text of ['', 'key', `${'A'.repeat(42)}==`, `${'A'.repeat(43)}= `])
      expect(isKey(text), text).toBe(false)
    expect(() => publicKeyOf('no key')).toThrow('32 bytes')
  })
})
