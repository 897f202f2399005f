import { cp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadAuthority, makeAuthority } from '#authority.ts'
import { expiryWarnings } from '#expiry.ts'
import { ensureLeaf, issueLeaf } from '#leaf.ts'
import { resumeSwitch, trustedRoots } from '#rollover.ts'
import { home, inDays, openssl, scratchDirectory, verify } from '#scratch.fixture.ts'
import { certCommand, fromMkcert } from './cert.ts'

const directory = scratchDirectory()
const at = (...path: string[]): string => join(directory(), ...path)

/** What one types after `sotto cert`, and what it prints. */
async function cert(...args: string[]): Promise<{ readonly data: unknown; readonly text: string }> {
  const results: { data: unknown; text: string }[] = []
  const command = certCommand({
    output: { result: (data, text) => results.push({ data, text }) },
    directory: ({ state = '' }) => join(state, 'certs'),
  })
  await command.parseAsync([...args, '--state', directory(), '--json'], { from: 'user' })
  expect(results).toHaveLength(1)
  return results[0] ?? { data: undefined, text: '' }
}

describe('sotto cert', () => {
  for (const args of [[], ['show']])
    it(`${args.join('')} shows the fingerprint, the files and their dates`, async () => {
      const authority = await makeAuthority(at('certs'), home)
      expect(await cert(...args)).toMatchObject({ data: { leaf: null } })
      const leaf = await ensureLeaf(authority, at('certs'), { names: ['10.77.0.1'] })
      const { data, text } = await cert(...args)
      expect(data).toEqual({
        name: 'Sotto CA of home',
        fingerprint: authority.fingerprint,
        rootKey: 'open',
        roots: [
          {
            name: 'Sotto CA of home',
            fingerprint: authority.fingerprint,
            notAfter: authority.rootNotAfter.toISOString(),
            file: at('certs', 'root.crt'),
          },
        ],
        warnings: [],
        permitted: home.permitted,
        root: { file: at('certs', 'root.crt'), notAfter: authority.rootNotAfter.toISOString() },
        intermediate: {
          file: at('certs', 'intermediate.crt'),
          notAfter: authority.intermediateNotAfter.toISOString(),
        },
        leaf: {
          file: at('certs', 'leaf.crt'),
          names: ['10.77.0.1'],
          notAfter: leaf.notAfter.toISOString(),
          renewAt: leaf.renewAt.toISOString(),
        },
      })
      for (const said of [authority.fingerprint, at('certs', 'leaf.crt'), leaf.notAfter.toISOString()])
        expect(text).toContain(said)
    })

  it('show says that there is no CA yet', async () => {
    await expect(cert('show')).rejects.toMatchObject({ code: 'missing' })
  })

  it('caroot prints the directory, as mkcert -CAROOT does', async () => {
    expect(await cert('caroot')).toEqual({ data: { directory: at('certs') }, text: at('certs') })
  })
})

describe('sotto cert issue', () => {
  it('writes a chain that openssl accepts and a key for its owner alone, and not the CA’s own leaf', async () => {
    await makeAuthority(at('certs'), home)
    const { data } = await cert('issue', 'nas.sotto.internal', '10.77.0.5', '--out', at('made', 'here'))
    const files = {
      cert: at('made', 'here', 'nas.sotto.internal.crt'),
      key: at('made', 'here', 'nas.sotto.internal.key'),
    }
    expect(data).toMatchObject({ ...files, names: ['nas.sotto.internal', '10.77.0.5'] })
    expect((await stat(files.key)).mode & 0o777).toBe(0o600)
    const strictly = ['-x509_strict', '-verify_ip', '10.77.0.5']
    const verdict = await verify(at('certs', 'root.crt'), files.cert, files.cert, ...strictly)
    expect(verdict.stdout).toContain('OK')
    expect(await readdir(at('certs'))).not.toContain('leaf.crt')
  })

  for (const [name, stem] of [
    ['*.sotto.internal', '_wildcard.sotto.internal'],
    ['fd12:3456:789a::5', 'fd12_3456_789a__5'],
  ] as const)
    it(`names the files of ${name} so that any file system takes them`, async () => {
      await makeAuthority(at('certs'), home)
      await cert('issue', name, '--out', at('made'))
      expect(await readdir(at('made'))).toEqual([`${stem}.crt`, `${stem}.key`])
    })

  for (const kept of ['10.77.0.5.crt', '10.77.0.5.key'])
    it(`replaces no ${kept} unless it is told to`, async () => {
      await makeAuthority(at('certs'), home)
      await writeFile(at(kept), 'precious')
      await expect(cert('issue', '10.77.0.5', '--out', at())).rejects.toMatchObject({ code: 'taken' })
      expect(await readFile(at(kept), 'utf8')).toBe('precious')
      await cert('issue', '10.77.0.5', '--out', at(), '--force')
      expect(await readFile(at(kept), 'utf8')).toContain('-----BEGIN')
    })

  it('writes nothing for a name outside the constraints', async () => {
    await makeAuthority(at('certs'), home)
    await expect(cert('issue', 'example.com', '--out', at('made'))).rejects.toMatchObject({
      code: 'not_permitted',
    })
    expect(await readdir(directory())).toEqual(['certs'])
  })

  it('says so where it may not write', async () => {
    await makeAuthority(at('certs'), home)
    await writeFile(at('made'), '')
    await expect(cert('issue', '10.77.0.5', '--out', at('made'))).rejects.toMatchObject({
      code: 'inaccessible',
    })
  })

  it('makes one that a client may show, as mkcert -client does', async () => {
    await makeAuthority(at('certs'), home)
    await cert('issue', 'nas.sotto.internal', '--client', '--out', at('out'))
    const files = [
      at('certs', 'root.crt'),
      at('certs', 'intermediate.crt'),
      at('out', 'nas.sotto.internal.crt'),
    ] as const
    for (const purpose of ['sslclient', 'sslserver']) await verify(...files, '-purpose', purpose)
    await cert('issue', 'other.sotto.internal', '--out', at('out'))
    await expect(
      verify(files[0], files[1], at('out', 'other.sotto.internal.crt'), '-purpose', 'sslclient'),
    ).rejects.toThrow('unsuitable certificate purpose')
  })

  it('makes a PKCS#12 file with the chain, as mkcert -p12 does', async () => {
    await makeAuthority(at('certs'), home)
    await cert('issue', 'nas.sotto.internal', '--p12', '--out', at('out'))
    const file = at('out', 'nas.sotto.internal.p12')
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    const { stdout } = await openssl('pkcs12', '-in', file, '-passin', 'pass:changeit', '-nodes')
    expect(stdout.match(/BEGIN CERTIFICATE/g)).toHaveLength(2)
    expect(stdout).toContain('BEGIN PRIVATE KEY')
    await expect(openssl('pkcs12', '-in', file, '-passin', 'pass:wrong', '-nodes')).rejects.toThrow(
      'password',
    )
    await writeFile(at('secret'), 'a word of my own\n')
    const own = at('own.p12')
    await cert('issue', '10.77.0.9', '--p12', '--p12-file', own, '--passphrase-file', at('secret'))
    await openssl('pkcs12', '-in', own, '-passin', 'pass:a word of my own', '-nodes')
  })

  it('takes mkcert’s own spelling of its flags', () => {
    expect(fromMkcert(['cert', '-install'])).toEqual(['cert', 'install'])
    expect(
      fromMkcert(['cert', 'issue', '-client', '-pkcs12', '-cert-file', 'x', 'nas.home', '--out', '-']),
    ).toEqual(['cert', 'issue', '--client', '--p12', '--cert-file', 'x', 'nas.home', '--out', '-'])
  })
})

describe('the CA’s own life', () => {
  it('goes on with the root key sealed, and needs its passphrase to renew the intermediate', async () => {
    const { fingerprint, intermediateCertificate } = await makeAuthority(at('certs'), home)
    await writeFile(at('secret'), 'four or five words\n')
    await writeFile(at('other'), 'other words than those\n')
    await writeFile(at('short'), 'short\n')
    await expect(cert('protect', '--passphrase-file', at('short'))).rejects.toMatchObject({
      code: 'short_passphrase',
    })
    await cert('protect', '--passphrase-file', at('secret'))
    expect(await readdir(at('certs'))).not.toContain('root.key')
    expect(await cert('show')).toMatchObject({ data: { rootKey: 'sealed', fingerprint } })
    await cert('issue', '10.77.0.9', '--out', at('out'))
    await expect(cert('renew', '--passphrase-file', at('other'))).rejects.toMatchObject({
      code: 'wrong_passphrase',
    })
    await cert('renew', '--passphrase-file', at('secret'))
    expect(await readFile(at('certs', 'intermediate.crt'), 'utf8')).not.toBe(intermediateCertificate)
    expect(await cert('show')).toMatchObject({ data: { rootKey: 'sealed', fingerprint } })
    await cert('issue', '10.77.0.10', '--out', at('out'))
    await verify(
      at('certs', 'root.crt'),
      at('certs', 'intermediate.crt'),
      at('out', '10.77.0.10.crt'),
      '-x509_strict',
    )
    await cert('unprotect', '--passphrase-file', at('secret'))
    expect(await cert('show')).toMatchObject({ data: { rootKey: 'open' } })
  })

  it('goes on with the root key put away, and says where it is needed', async () => {
    await makeAuthority(at('certs'), home)
    await rm(at('certs', 'root.key'))
    expect(await cert('show')).toMatchObject({ data: { rootKey: 'away' } })
    await expect(cert('renew')).rejects.toMatchObject({ code: 'root_key' })
  })

  it('is handed to the next CA, with both roots trusted until then and the old one after', async () => {
    const first = await makeAuthority(at('certs'), home)
    await expect(cert('rollover', '--finish')).rejects.toMatchObject({ code: 'no_rollover' })
    const { data: begun } = await cert('rollover')
    const fingerprints = async () => {
      const { data } = await cert('show')
      return (data as { roots: { fingerprint: string }[] }).roots.map(({ fingerprint }) => fingerprint)
    }
    const { fingerprint: next } = begun as { fingerprint: string }
    expect(await fingerprints()).toEqual([first.fingerprint, next])
    await cert('issue', '10.77.0.9', '--out', at('before'))
    await expect(cert('rollover')).rejects.toMatchObject({ code: 'taken' })
    await cert('rollover', '--finish')
    expect(await fingerprints()).toEqual([next, first.fingerprint])
    await cert('issue', '10.77.0.9', '--out', at('after'))
    const bundle = (await trustedRoots(at('certs'))).join('')
    await writeFile(at('both.crt'), bundle)
    await writeFile(at('first.crt'), first.rootCertificate)
    await writeFile(at('first-chain.crt'), first.intermediateCertificate)
    // What was issued before holds on a device that has both, and what is issued now, too.
    await verify(at('both.crt'), at('first-chain.crt'), at('before', '10.77.0.9.crt'))
    await verify(at('both.crt'), at('certs', 'intermediate.crt'), at('after', '10.77.0.9.crt'))
    await expect(
      verify(at('first.crt'), at('certs', 'intermediate.crt'), at('after', '10.77.0.9.crt')),
    ).rejects.toThrow('unable to get')
  })

  it('survives a crash in the middle of the switch', async () => {
    await makeAuthority(at('certs'), home)
    const { data } = await cert('rollover')
    // As a crash leaves it: the marker, and some files copied.
    await writeFile(at('certs', 'next', 'switching'), '')
    await cp(at('certs', 'next', 'root.crt'), at('certs', 'root.crt'))
    await resumeSwitch(at('certs'))
    expect((await loadAuthority(at('certs'))).fingerprint).toBe((data as { fingerprint: string }).fingerprint)
    expect(await readdir(at('certs'))).not.toContain('next')
  })

  it('is warned of from a year before its end', async () => {
    const authority = await makeAuthority(at('certs'), home)
    const end = authority.rootNotAfter.getTime()
    const warned = (daysBefore: number) =>
      expiryWarnings(authority, undefined, new Date(end - daysBefore * 86_400_000)).map(
        ({ what, daysLeft }) => [what, daysLeft],
      )
    expect(expiryWarnings(authority, undefined)).toEqual([])
    expect(warned(364)).toContainEqual(['root', 364])
    const nearly = new Date(authority.intermediateNotAfter.getTime() - 86_400_000 * 30)
    expect(expiryWarnings(authority, undefined, nearly)).toMatchObject([
      { what: 'intermediate', daysLeft: 30, remedy: expect.stringContaining('cert renew') },
    ])
    const leaf = await issueLeaf(authority, { names: ['10.77.0.1'] })
    expect(expiryWarnings(authority, leaf, inDays(61))).toEqual([])
    expect(expiryWarnings(authority, leaf, inDays(80))).toMatchObject([{ what: 'leaf' }])
  })
})
