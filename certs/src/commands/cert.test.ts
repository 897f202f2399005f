import { readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { makeAuthority } from '#authority.ts'
import { ensureLeaf } from '#leaf.ts'
import { home, scratchDirectory, verify } from '#scratch.fixture.ts'
import { certCommand } from './cert.ts'

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
})
