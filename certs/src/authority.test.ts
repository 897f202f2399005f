import { X509Certificate } from 'node:crypto'
import { chmod, copyFile, mkdir, readFile, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generate } from 'selfsigned'
import { describe, expect, it } from 'vitest'
import { loadAuthority, loadOrMakeAuthority, makeAuthority } from './authority.ts'
import { keyPem, makeKeyPair } from './key-pair.ts'
import { home, inDays, openssl, scratchDirectory } from './scratch.fixture.ts'

const directory = scratchDirectory()
const at = (file: string): string => join(directory(), file)
const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777

describe('a new CA', () => {
  it('is made once', async () => {
    const first = await loadOrMakeAuthority(directory(), home)
    const again = await loadOrMakeAuthority(directory(), home)
    expect([first.made, again.made]).toEqual([true, false])
    expect(again.authority.fingerprint).toBe(first.authority.fingerprint)
  })

  it('is for its owner alone, in a directory that was open to others', async () => {
    await chmod(directory(), 0o755)
    await makeAuthority(directory(), home)
    expect(await modeOf(directory())).toBe(0o700)
    for (const file of await readdir(directory())) expect(await modeOf(at(file)), file).toBe(0o600)
  })

  it('is never made over one that is there, nor over a part of one', async () => {
    await writeFile(at('root.key'), 'precious')
    await expect(makeAuthority(directory(), home)).rejects.toMatchObject({
      code: 'taken',
      message: expect.stringContaining('root.key'),
    })
    expect(await readFile(at('root.key'), 'utf8')).toBe('precious')
  })

  it('says what it may sign for, with ranges as networks', async () => {
    const permitted = { dns: ['Sotto.internal'], ip: ['10.77.0.9/24', 'fd12::9/64'] }
    const authority = await makeAuthority(directory(), { name: 'Sotto CA of home', permitted })
    expect(authority.permitted).toEqual({ dns: ['sotto.internal'], ip: ['10.77.0.0/24', 'fd12::/64'] })
  })

  it('says whose it is, in 64 characters at most', async () => {
    const name = `Sotto CA of ${'h'.repeat(64)}`
    const authority = await makeAuthority(directory(), { ...home, name })
    expect(authority.name).toBe(name.slice(0, 50))
    const { subject } = new X509Certificate(authority.intermediateCertificate)
    expect(subject).toBe(`CN=${name.slice(0, 50)}\\, issuing`)
  })

  it('has the fingerprint that openssl prints', async () => {
    const { fingerprint } = await makeAuthority(directory(), home)
    const { stdout } = await openssl('x509', '-in', at('root.crt'), '-noout', '-fingerprint', '-sha256')
    expect(stdout.trim()).toBe(`sha256 Fingerprint=${fingerprint}`)
  })

  it('holds on P-256 for ten years and five, constrained in both certificates', async () => {
    const { rootNotAfter, intermediateNotAfter } = await makeAuthority(directory(), home)
    expect(rootNotAfter > inDays(3_649) && rootNotAfter < inDays(3_651)).toBe(true)
    expect(intermediateNotAfter > inDays(1_824) && intermediateNotAfter < inDays(1_826)).toBe(true)
    for (const file of ['root.crt', 'intermediate.crt']) {
      const { stdout } = await openssl('x509', '-in', at(file), '-noout', '-text')
      expect(stdout).toMatch(
        /Name Constraints: critical\s+Permitted:\s+DNS:sotto\.internal\s+IP:10\.77\.0\.0/,
      )
      for (const said of ['prime256v1', 'Subject Key Identifier', 'Authority Key Identifier'])
        expect(stdout, file).toContain(said)
    }
  })
})

describe('a CA that can be used', () => {
  it('needs no root key, which can be put away', async () => {
    await makeAuthority(directory(), home)
    await rm(at('root.key'))
    await expect(loadAuthority(directory())).resolves.toMatchObject({ name: 'Sotto CA of home' })
  })
})

describe('a CA that can not be used', () => {
  it('is missing', async () => {
    await expect(loadAuthority(directory())).rejects.toMatchObject({ code: 'missing' })
  })

  for (const file of ['root.crt', 'intermediate.crt', 'intermediate.key'])
    it(`is half written without ${file}, and is not made over`, async () => {
      await makeAuthority(directory(), home)
      await rm(at(file))
      await expect(loadOrMakeAuthority(directory(), home)).rejects.toMatchObject({
        code: 'half_written',
        message: expect.stringContaining(`${file} missing`),
        remedy: expect.stringContaining('backup'),
      })
    })

  for (const file of ['root.crt', 'root.key', 'intermediate.crt', 'intermediate.key'])
    it(`is half written where ${file} is cut short`, async () => {
      await makeAuthority(directory(), home)
      await truncate(at(file), 120)
      await expect(loadAuthority(directory())).rejects.toMatchObject({
        code: 'half_written',
        message: expect.stringContaining(`${file} is damaged`),
      })
    })

  it('has expired, or is not yet valid by a wrong clock', async () => {
    await makeAuthority(directory(), home)
    for (const now of [inDays(1_826), inDays(-2)])
      await expect(loadAuthority(directory(), { now })).rejects.toMatchObject({
        code: 'expired',
        remedy: expect.stringContaining('clock'),
      })
  })

  for (const keyType of ['ec', 'rsa'] as const)
    it(`is another’s on ${keyType}, that may sign for any name`, async () => {
      const { cert, private: key } = await generate([{ name: 'commonName', value: 'Any CA' }], {
        keyType,
        algorithm: 'sha256',
        extensions: [{ name: 'basicConstraints', cA: true, critical: true }],
      })
      for (const name of ['root', 'intermediate']) {
        await writeFile(at(`${name}.crt`), cert)
        await writeFile(at(`${name}.key`), key)
      }
      await expect(loadAuthority(directory())).rejects.toMatchObject({
        code: 'foreign',
        message: expect.stringContaining('beyond the overlay'),
      })
    })

  for (const open of ['0.0.0.0/0', '::/0'])
    it(`is one that may sign for all of ${open}`, async () => {
      const permitted = { ...home.permitted, ip: [open] }
      await expect(makeAuthority(directory(), { ...home, permitted })).rejects.toMatchObject({
        code: 'foreign',
      })
    })

  for (const file of ['root.key', 'intermediate.key'])
    it(`has a ${file} that is not its own`, async () => {
      await makeAuthority(directory(), home)
      await writeFile(at(file), keyPem((await makeKeyPair()).privateKey))
      await expect(loadAuthority(directory())).rejects.toMatchObject({
        code: 'mismatch',
        message: expect.stringContaining(file),
      })
    })

  it('has the root of another CA of the same name', async () => {
    await mkdir(at('other'))
    await makeAuthority(directory(), home)
    await makeAuthority(at('other'), home)
    for (const file of ['root.crt', 'root.key']) await copyFile(join(at('other'), file), at(file))
    await expect(loadAuthority(directory())).rejects.toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('did not sign'),
    })
  })

  it('can not be read: a directory stands where its certificate should', async () => {
    await mkdir(at('root.crt'))
    await expect(loadAuthority(directory())).rejects.toMatchObject({
      code: 'inaccessible',
      message: expect.stringContaining('EISDIR'),
    })
  })
})
