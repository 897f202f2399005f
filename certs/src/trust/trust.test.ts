/** What can't run here is held to the argument list; Debian's store and NSS run for real in test/trust.test.ts. */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { makeAuthority } from '#authority.ts'
import { home, scratchDirectory } from '#scratch.fixture.ts'
import type { Root, TrustStore } from './store.ts'
import { systemStores } from './system.ts'
import { rootOf, trustStores } from './trust.ts'

const directory = scratchDirectory()
let root: Root
let calls: string[][]
/** Programs whose call fails. */
let failing: Set<string>

const run = async (file: string, args: readonly string[]) => {
  calls.push([file, ...args])
  if (failing.has(file)) throw new Error(file)
  return { stdout: '' }
}
const touch = async (...path: string[]) => {
  const file = join(directory(), ...path)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, '')
}
const lifeOf = async (store: TrustStore | undefined) => {
  await store?.install(root)
  await store?.has(root)
  await store?.uninstall(root)
  return calls
}

beforeEach(async () => {
  calls = []
  failing = new Set()
  const { rootCertificate } = await makeAuthority(join(directory(), 'ca'), home)
  root = rootOf(rootCertificate, '/ca/root.crt')
})

describe('the trust store of', () => {
  it('macOS is the System keychain', async () => {
    const [keychain] = trustStores({ platform: 'darwin', home: directory(), run })
    expect(await lifeOf(keychain)).toEqual([
      [
        'security',
        'add-trusted-cert',
        '-d',
        '-r',
        'trustRoot',
        '-k',
        '/Library/Keychains/System.keychain',
        '/ca/root.crt',
      ],
      ['security', 'verify-cert', '-c', '/ca/root.crt', '-L', '-l', '-q'],
      ['security', 'remove-trusted-cert', '-d', '/ca/root.crt'],
      ['security', 'delete-certificate', '-Z', root.thumbprint, '/Library/Keychains/System.keychain'],
    ])
    failing.add('security')
    expect(await keychain?.has(root)).toBe(false)
  })

  it('Windows is the machine’s root store', async () => {
    const [store] = trustStores({ platform: 'win32', home: directory(), run })
    expect(await lifeOf(store)).toEqual([
      ['certutil.exe', '-f', '-addstore', 'Root', '/ca/root.crt'],
      ['certutil.exe', '-store', 'Root', root.thumbprint],
      ['certutil.exe', '-delstore', 'Root', root.thumbprint],
    ])
    expect(root.thumbprint).toMatch(/^[0-9A-F]{40}$/)
  })

  for (const [family, folder, extension, update, fresh] of [
    ['Fedora', 'etc/pki/ca-trust/source/anchors', 'pem', ['update-ca-trust', 'extract'], []],
    ['Debian', 'usr/local/share/ca-certificates', 'crt', ['update-ca-certificates'], ['--fresh']],
    ['Arch', 'etc/ca-certificates/trust-source/anchors', 'crt', ['trust', 'extract-compat'], []],
    ['SUSE', 'usr/share/pki/trust/anchors', 'pem', ['update-ca-certificates'], ['--fresh']],
  ] as const)
    it(`${family} is a directory, and the command that takes it up`, async () => {
      await mkdir(join(directory(), folder), { recursive: true })
      const [store] = systemStores(run, directory())
      expect(store?.name).toContain(family)
      expect(await store?.has(root)).toBe(false)
      await store?.install(root)
      const [file = ''] = await readdir(join(directory(), folder))
      expect(file).toMatch(new RegExp(`^sotto-[0-9a-f]{16}\\.${extension}$`))
      expect(await store?.has(root)).toBe(true)
      await store?.uninstall(root)
      expect(await readdir(join(directory(), folder))).toEqual([])
      expect(calls).toEqual([[...update], [...update, ...fresh]])
    })

  it('a system without one is none', () => {
    expect(systemStores(run, directory())).toEqual([])
  })

  it('Firefox and Chromium is each profile’s database, snap and flatpak ones too', async () => {
    await touch('.mozilla/firefox/abc.default-release/cert9.db')
    await touch('.mozilla/firefox/Crash Reports/other')
    await touch('snap/firefox/common/.mozilla/firefox/def.default/cert9.db')
    await touch('.var/app/org.mozilla.firefox/.mozilla/firefox/ghi.default/cert9.db')
    await touch('.pki/nssdb/cert9.db')
    await touch('snap/chromium/current/.pki/nssdb/cert9.db')
    const stores = trustStores({ platform: 'linux', home: directory(), run }).filter(
      ({ name }) => !name.includes('system'),
    )
    expect(stores.map(({ name }) => name)).toEqual([
      'Firefox, abc.default-release',
      'Firefox (snap), def.default',
      'Firefox (flatpak), ghi.default',
      'Chromium',
      'Chromium (snap)',
    ])
    const name = `sotto-${root.fingerprint.replaceAll(':', '').slice(0, 16).toLowerCase()}`
    const database = ['-d', `sql:${join(directory(), '.mozilla/firefox/abc.default-release')}`]
    expect(await lifeOf(stores[0])).toEqual([
      ['certutil', '-A', ...database, '-t', 'C,,', '-n', name, '-i', '/ca/root.crt'],
      ['certutil', '-V', ...database, '-u', 'L', '-n', name],
      ['certutil', '-D', ...database, '-n', name],
    ])
  })
})
