import { X509Certificate } from 'node:crypto'
import { parse } from 'plist'
import { describe, expect, it } from 'vitest'
import { makeAuthority } from './authority.ts'
import { appleProfile } from './profile.ts'
import { home, scratchDirectory } from './scratch.fixture.ts'

const directory = scratchDirectory()

describe('the profile for Apple’s systems', () => {
  it('holds each root, and is the same for the same roots', async () => {
    const { rootCertificate, fingerprint } = await makeAuthority(directory(), home)
    const other = await makeAuthority(`${directory()}/other`, { ...home, name: 'Ada & <Bob>' })
    const roots = [rootCertificate, other.rootCertificate]
    const text = appleProfile({ roots, name: 'Sotto & <friends>' })
    expect(appleProfile({ roots, name: 'Sotto & <friends>' })).toBe(text)
    const profile = parse(text) as {
      PayloadUUID: string
      PayloadDisplayName: string
      PayloadContent: {
        PayloadType: string
        PayloadUUID: string
        PayloadIdentifier: string
        PayloadContent: Uint8Array
        PayloadDisplayName: string
      }[]
    }
    expect(profile.PayloadDisplayName).toBe('Sotto & <friends>')
    expect(
      profile.PayloadContent.map(({ PayloadContent }) => new X509Certificate(PayloadContent).fingerprint256),
    ).toEqual([fingerprint, other.fingerprint])
    expect(profile.PayloadContent.map(({ PayloadType }) => PayloadType)).toEqual(
      Array(2).fill('com.apple.security.root'),
    )
    expect(profile.PayloadContent[1]?.PayloadDisplayName).toBe('Ada & <Bob>')
    const uuids = [profile, ...profile.PayloadContent].map(({ PayloadUUID }) => PayloadUUID)
    expect(new Set(uuids).size).toBe(3)
    for (const uuid of uuids)
      expect(uuid).toMatch(/^[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$/)
  })
})
