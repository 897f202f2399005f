import 'reflect-metadata'
import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as x509 from '@peculiar/x509'
import { generate } from 'selfsigned'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  exportKey,
  keyAlgorithm,
  loadAuthority,
  loadOrMakeAuthority,
  makePair,
  permittedBy,
  type Authority,
} from './authority.ts'
import { ensureLeaf, issueLeaf } from './leaf.ts'

const wanted = {
  name: 'Sotto CA of home',
  permitted: { dns: ['sotto.internal'], ip: ['10.77.0.0/24', '127.0.0.1/32', 'fd12:3456:789a::/64'] },
}
const dayMs = 86_400_000
const run = promisify(execFile)
let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-ca-'))
})
afterEach(() => rm(directory, { recursive: true }))

const make = async (): Promise<Authority> => (await loadOrMakeAuthority(directory, wanted)).authority
const days = (count: number): Date => new Date(Date.now() + count * dayMs)

describe('a new CA', () => {
  it('is made once, and is for its owner alone', async () => {
    expect((await loadOrMakeAuthority(directory, wanted)).made).toBe(true)
    const again = await loadOrMakeAuthority(directory, wanted)
    expect(again).toMatchObject({ made: false, authority: { name: 'Sotto CA of home' } })
    for (const file of await readdir(directory))
      expect((await stat(join(directory, file))).mode & 0o777, file).toBe(0o600)
  })

  it('says what it may sign for, and its fingerprint is the one that openssl prints', async () => {
    const authority = await make()
    expect(permittedBy(authority)).toEqual(wanted.permitted)
    const { stdout } = await run('openssl', [
      'x509',
      '-in',
      join(directory, 'root.crt'),
      '-noout',
      '-fingerprint',
      '-sha256',
    ])
    expect(stdout.trim()).toBe(`sha256 Fingerprint=${authority.fingerprint}`)
  })
})

describe('a leaf', () => {
  const verify = () =>
    run('openssl', [
      'verify',
      '-x509_strict',
      '-CAfile',
      join(directory, 'root.crt'),
      '-untrusted',
      join(directory, 'intermediate.crt'),
      join(directory, 'leaf.crt'),
    ])

  it('within the constraints is accepted by openssl at its strictest', async () => {
    await ensureLeaf(await make(), directory, {
      names: ['10.77.0.1', 'fd12:3456:789a::1', 'sotto.internal', 'a.sotto.internal'],
    })
    expect((await verify()).stdout).toContain('leaf.crt: OK')
  })

  for (const name of [
    '10.78.0.1',
    'fd12:3456:789b::1',
    'example.com',
    'sotto.internal.example.com',
    '127.0.0.2',
  ])
    it(`for ${name} is refused by us, with what is permitted`, async () => {
      const authority = await make()
      await expect(issueLeaf(authority, { names: [name] })).rejects.toMatchObject({
        code: 'not_permitted',
        message: expect.stringContaining('10.77.0.0/24'),
      })
    })

  for (const [type, value] of [
    ['ip', '10.78.0.1'],
    ['ip', 'fd12:3456:789b::1'],
    ['dns', 'example.com'],
  ] as const)
    it(`for ${value}, signed all the same with a stolen key, is refused by openssl`, async () => {
      const authority = await make()
      const pair = await makePair()
      const forged = await x509.X509CertificateGenerator.create({
        serialNumber: '01',
        issuer: authority.issuer.certificate.subjectName.toJSON(),
        notBefore: days(-1),
        notAfter: days(1),
        publicKey: pair.publicKey,
        signingKey: authority.issuer.key,
        signingAlgorithm: keyAlgorithm,
        extensions: [
          new x509.SubjectAlternativeNameExtension([{ type, value }], true),
          await x509.SubjectKeyIdentifierExtension.create(pair.publicKey),
          await x509.AuthorityKeyIdentifierExtension.create(authority.issuer.certificate.publicKey),
        ],
      })
      await writeFile(join(directory, 'leaf.crt'), forged.toString('pem'))
      await expect(verify()).rejects.toMatchObject({
        stderr: expect.stringContaining('permitted subtree violation'),
      })
    })

  it('serves a client that trusts the root alone', async () => {
    const authority = await make()
    const leaf = await issueLeaf(authority, { names: ['127.0.0.1'] })
    const server = createServer(leaf, (_request, response) => response.end('hello')).listen(0, '127.0.0.1')
    await new Promise((settle) => server.once('listening', settle))
    const { port } = server.address() as AddressInfo
    const status = await new Promise((settle, fail) => {
      request({ host: '127.0.0.1', port, ca: authority.rootCertificate }, (answer) =>
        settle(answer.statusCode),
      )
        .on('error', fail)
        .end()
    })
    server.close()
    expect(status).toBe(200)
  })

  it('is kept until two thirds of its life, and renewed after', async () => {
    const authority = await make()
    const names = ['10.77.0.1']
    const first = await ensureLeaf(authority, directory, { names })
    expect((await ensureLeaf(authority, directory, { names, now: days(59) })).cert).toBe(first.cert)
    const renewed = await ensureLeaf(authority, directory, { names, now: days(61) })
    expect(renewed.cert).not.toBe(first.cert)
    expect(new X509Certificate(renewed.cert).validTo).not.toBe(new X509Certificate(first.cert).validTo)
  })

  it('is issued anew for another name, after damage, and when its key is another’s', async () => {
    const authority = await make()
    const first = await ensureLeaf(authority, directory, { names: ['10.77.0.1'] })
    const named = await ensureLeaf(authority, directory, { names: ['10.77.0.1', 'sotto.internal'] })
    expect(named.cert).not.toBe(first.cert)
    await writeFile(join(directory, 'leaf.crt'), 'half a certif')
    const mended = await ensureLeaf(authority, directory, { names: ['10.77.0.1'] })
    await writeFile(join(directory, 'leaf.key'), await exportKey((await makePair()).privateKey))
    expect((await ensureLeaf(authority, directory, { names: ['10.77.0.1'] })).cert).not.toBe(mended.cert)
  })
})

describe('a CA that can not be used', () => {
  it('is missing', async () => {
    await expect(loadAuthority(directory)).rejects.toMatchObject({ code: 'missing' })
  })

  it('is half written, and is not made over', async () => {
    await make()
    await rm(join(directory, 'intermediate.crt'))
    await expect(loadOrMakeAuthority(directory, wanted)).rejects.toMatchObject({
      code: 'half_written',
      message: expect.stringContaining('intermediate.crt'),
      remedy: expect.stringContaining('backup'),
    })
  })

  it('has expired, or is not yet valid by a wrong clock', async () => {
    await make()
    for (const now of [days(1_826), days(-2)])
      await expect(loadAuthority(directory, now)).rejects.toMatchObject({
        code: 'expired',
        remedy: expect.stringContaining('clock'),
      })
  })

  it('is another’s, that may sign for any name', async () => {
    await make()
    const foreign = await generate([{ name: 'commonName', value: 'Any CA' }], {
      keyType: 'ec',
      algorithm: 'sha256',
    })
    await writeFile(join(directory, 'root.crt'), foreign.cert)
    await writeFile(join(directory, 'intermediate.crt'), foreign.cert)
    await writeFile(join(directory, 'intermediate.key'), foreign.private)
    await expect(loadAuthority(directory)).rejects.toMatchObject({ code: 'foreign' })
  })

  it('has a key that is not its own', async () => {
    await make()
    await writeFile(join(directory, 'intermediate.key'), await exportKey((await makePair()).privateKey))
    await expect(loadAuthority(directory)).rejects.toMatchObject({ code: 'mismatch' })
  })

  it('goes on without its root key, which can be put away', async () => {
    await make()
    await rm(join(directory, 'root.key'))
    await expect(loadAuthority(directory)).resolves.toMatchObject({ name: 'Sotto CA of home' })
  })
})
