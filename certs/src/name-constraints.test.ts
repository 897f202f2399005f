import 'reflect-metadata'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { describe, expect, it } from 'vitest'
import { makeAuthority, type Authority } from './authority.ts'
import { certificatePem, makeCertificate } from './certificate.ts'
import { makeKeyPair } from './key-pair.ts'
import { home, scratchDirectory, verifyLeaf } from './scratch.fixture.ts'

const directory = scratchDirectory()
const at = (file: string): string => join(directory(), file)
const make = (permitted = home.permitted): Promise<Authority> =>
  makeAuthority(directory(), { ...home, permitted })

describe('a leaf signed with a stolen key', () => {
  /** What a thief of the intermediate's key would write to `leaf.crt`. */
  const forge = async (
    { signer }: Authority,
    names: x509.JsonGeneralNames,
    extra: { subject?: string; usage?: x509.ExtendedKeyUsage } = {},
  ): Promise<void> => {
    const { subject, usage = x509.ExtendedKeyUsage.serverAuth } = extra
    const { publicKey } = await makeKeyPair()
    const forged = await makeCertificate({
      ...(subject !== undefined && { subject }),
      issuer: signer,
      publicKey,
      validity: { now: new Date(), lifeMs: 86_400_000 },
      extensions: [
        new x509.ExtendedKeyUsageExtension([usage]),
        new x509.SubjectAlternativeNameExtension(names, subject === undefined),
      ],
    })
    await writeFile(at('leaf.crt'), certificatePem(forged))
  }
  const expectRefused = (why: string) =>
    expect(verifyLeaf(directory())).rejects.toMatchObject({ stderr: expect.stringContaining(why) })

  it('is accepted by openssl for a permitted address, so that the refusals below are for the name', async () => {
    await forge(await make(), [{ type: 'ip', value: '10.77.0.7' }])
    expect((await verifyLeaf(directory())).stdout).toContain('OK')
  })

  for (const [type, value] of [
    ['ip', '10.78.0.1'],
    ['ip', 'fd12:3456:789b::1'],
    ['dns', 'example.com'],
    ['email', 'ada@example.com'],
    ['url', 'https://example.com/'],
  ] as const)
    it(`is refused by openssl for ${value}`, async () => {
      await forge(await make(), [{ type, value }])
      await expectRefused('permitted subtree violation')
    })

  it('is refused by openssl for a host in its common name', async () => {
    await forge(await make(), [{ type: 'ip', value: '10.77.0.7' }], { subject: 'example.com' })
    await expectRefused('permitted subtree violation')
  })

  for (const [type, value, permitted] of [
    ['dns', 'example.com', { dns: [], ip: home.permitted.ip }],
    ['ip', '10.77.0.1', { dns: home.permitted.dns, ip: [] }],
    ['ip', 'fd12:3456:789a::1', { dns: home.permitted.dns, ip: [] }],
    ['ip', 'fd12:3456:789a::1', { dns: [], ip: ['10.77.0.0/24'] }],
  ] as const)
    it(`is refused by openssl for ${value} where the CA permits ${JSON.stringify(permitted)}`, async () => {
      await forge(await make({ dns: [...permitted.dns], ip: [...permitted.ip] }), [{ type, value }])
      await expectRefused('subtree violation')
    })

  it('is refused by openssl for mail, for which the intermediate has no usage', async () => {
    const usage = x509.ExtendedKeyUsage.emailProtection
    await forge(await make(), [{ type: 'ip', value: '10.77.0.7' }], { usage })
    const verdict = verifyLeaf(directory(), '-purpose', 'smimesign')
    await expect(verdict).rejects.toMatchObject({
      stderr: expect.stringMatching(/error 26 at 1 depth|invalid CA certificate/),
    })
  })
})
