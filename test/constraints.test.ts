/** What the CA may sign for, as Chromium and curl see it: two verifiers that share no code. */
import 'reflect-metadata'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { makeAuthority, type Authority } from '@sotto/certs/authority.ts'
import { certificatePem, makeCertificate } from '@sotto/certs/certificate.ts'
import { keyPem, makeKeyPair } from '@sotto/certs/key-pair.ts'
import { execa } from 'execa'
import { chromium, type BrowserContext } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { temporaryDirectory } from './lab/gateway.ts'

const names = [
  ['name', 'nas.sotto.internal'],
  ['IPv4', '127.0.0.1'],
  ['IPv6', '::1'],
] as const

describe('a leaf whose signer has the CA’s key', () => {
  let directory: string
  let browser: BrowserContext
  const closers: (() => Promise<unknown>)[] = []
  const authorities = new Map<'within' | 'outside', Authority>()

  /** Signed with the intermediate's key, past our own check. */
  async function stolen({ signer, intermediateCertificate }: Authority, name: string) {
    const pair = await makeKeyPair()
    const leaf = await makeCertificate({
      issuer: signer,
      publicKey: pair.publicKey,
      validity: { now: new Date(), lifeMs: 86_400_000 },
      extensions: [
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(
          [{ type: /[:\d]$/.test(name) ? 'ip' : 'dns', value: name }],
          true,
        ),
      ],
    })
    return { cert: certificatePem(leaf) + intermediateCertificate, key: keyPem(pair.privateKey) }
  }
  async function serve(authority: Authority, name: string): Promise<{ url: string; server: Server }> {
    const server = createServer(await stolen(authority, name), (_, response) => response.end('served'))
    await new Promise<void>((settle) => server.listen(0, name === '::1' ? '::1' : '127.0.0.1', settle))
    const { port } = server.address() as AddressInfo
    return { url: `https://${name.includes(':') ? `[${name}]` : name}:${port}/`, server }
  }
  const inChromium = async (url: string): Promise<string> => {
    const page = await browser.newPage()
    const seen = await page.goto(url).then(
      async (answer) => (await answer?.text()) ?? '',
      (error: unknown) => /net::\w+/.exec(String(error))?.[0] ?? String(error),
    )
    await page.close()
    return seen
  }
  const inCurl = async (url: string, ca: string): Promise<string> => {
    const { port } = new URL(url)
    const { stdout, exitCode } = await execa(
      'curl',
      ['-s', '--cacert', ca, '--resolve', `nas.sotto.internal:${port}:127.0.0.1`, url],
      { reject: false },
    )
    return exitCode === 0 ? stdout : `curl ${exitCode}`
  }

  beforeAll(async () => {
    const folder = await temporaryDirectory()
    closers.push(folder.remove)
    directory = folder.path
    const database = join(directory, '.pki', 'nssdb')
    await mkdir(database, { recursive: true })
    await execa('certutil', ['-N', '-d', `sql:${database}`, '--empty-password'])
    for (const [which, permitted] of [
      ['within', { dns: ['sotto.internal'], ip: ['127.0.0.1/32', '::1/128'] }],
      ['outside', { dns: ['elsewhere.internal'], ip: ['10.77.0.0/24', 'fd12:3456:789a::/64'] }],
    ] as const) {
      const authority = await makeAuthority(join(directory, which), { name: `Sotto CA ${which}`, permitted })
      authorities.set(which, authority)
      await execa('certutil', [
        '-A',
        '-d',
        `sql:${database}`,
        '-n',
        which,
        '-t',
        'C,,',
        '-i',
        join(directory, which, 'root.crt'),
      ])
    }
    browser = await chromium.launchPersistentContext(join(directory, 'profile'), {
      executablePath: '/usr/bin/chromium',
      env: { PATH: process.env.PATH ?? '', HOME: directory },
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--disable-component-update',
        '--disable-sync',
        '--host-resolver-rules=MAP nas.sotto.internal 127.0.0.1',
      ],
    })
    closers.push(() => browser.close())
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  for (const [kind, name] of names) {
    it(`is accepted for a ${kind} within its constraints`, async () => {
      const { url, server } = await serve(authorities.get('within') as Authority, name)
      expect(await inChromium(url)).toBe('served')
      expect(await inCurl(url, join(directory, 'within', 'root.crt'))).toBe('served')
      server.close()
    })

    it(`is refused for a ${kind} outside them`, async () => {
      const { url, server } = await serve(authorities.get('outside') as Authority, name)
      expect(await inChromium(url)).toBe('net::ERR_CERT_INVALID')
      expect(await inCurl(url, join(directory, 'outside', 'root.crt'))).toBe('curl 60')
      server.close()
    })
  }

  it('is one that `openssl verify -x509_strict` passes', async () => {
    const { cert } = await stolen(authorities.get('within') as Authority, '127.0.0.1')
    const [leaf, chain] = ['leaf.crt', 'chain.crt'].map((file) => join(directory, file))
    await writeFile(leaf ?? '', cert)
    await writeFile(chain ?? '', await readFile(join(directory, 'within', 'intermediate.crt')))
    const { stdout } = await execa('openssl', [
      'verify',
      '-x509_strict',
      '-CAfile',
      join(directory, 'within', 'root.crt'),
      '-untrusted',
      chain ?? '',
      leaf ?? '',
    ])
    expect(stdout).toContain(': OK')
  })
})
