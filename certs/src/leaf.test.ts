import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { loadAuthority, makeAuthority, type Authority } from './authority.ts'
import { keyPem, makeKeyPair } from './key-pair.ts'
import { ensureLeaf, issueLeaf, keepLeaf, namesOf, type Leaf } from './leaf.ts'
import { renewIntermediate } from './rollover.ts'
import { home, inDays, scratchDirectory, verifyLeaf } from './scratch.fixture.ts'

const directory = scratchDirectory()
const at = (file: string): string => join(directory(), file)
const make = (): Promise<Authority> => makeAuthority(directory(), home)

describe('a leaf within the constraints', () => {
  const names = ['10.77.0.1', 'fd12:3456:789a::1', 'sotto.internal', '*.sotto.internal']

  it('is accepted by openssl at its strictest', async () => {
    await ensureLeaf(await make(), directory(), { names })
    expect((await verifyLeaf(directory())).stdout).toContain('leaf.crt: OK')
  })

  it('is on P-256, for servers, by its alternative names alone, for 90 days with an hour before now', async () => {
    const { cert, notAfter, renewAt } = await issueLeaf(await make(), { names })
    const leaf = new X509Certificate(cert)
    expect(leaf.subject).toBeUndefined()
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
    expect(leaf.subjectAltName).toContain('DNS:sotto.internal')
    expect(leaf.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' })
    expect(leaf.validFromDate < inDays(-0.04)).toBe(true)
    expect(notAfter.getTime() - leaf.validFromDate.getTime()).toBe(90 * 86_400_000)
    expect(renewAt.getTime() - leaf.validFromDate.getTime()).toBe(60 * 86_400_000)
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
    }).finally(() => server.close())
    expect(status).toBe(200)
  })

  it('holds an international name in punycode', async () => {
    const { cert } = await issueLeaf(await make(), { names: ['Bücher.sotto.internal'] })
    expect(namesOf(cert)).toEqual(['xn--bcher-kva.sotto.internal'])
  })

  it('never outlives the CA that signed it', async () => {
    const authority = await make()
    const end = authority.intermediateNotAfter
    const month = new Date(end.getTime() - 30 * 86_400_000)
    expect((await issueLeaf(authority, { names, now: month })).notAfter).toEqual(end)
    await expect(issueLeaf(authority, { names, now: end })).rejects.toMatchObject({ code: 'expired' })
  })
})

describe('a leaf outside the constraints', () => {
  for (const name of [
    '10.78.0.1',
    'fd12:3456:789b::1',
    'example.com',
    'sotto.internal.example.com',
    'notsotto.internal',
    '*.internal',
    '127.0.0.2',
    '::ffff:10.77.0.1',
  ])
    it(`for ${name} is refused by us, with what is permitted`, async () => {
      await expect(issueLeaf(await make(), { names: ['10.77.0.1', name] })).rejects.toMatchObject({
        code: 'not_permitted',
        message: expect.stringMatching(`may not sign for .*${name.replaceAll('*', '.')}.*10.77.0.0/24`),
      })
    })

  for (const name of [
    '',
    'a b.sotto.internal',
    'a\n.sotto.internal',
    'a..sotto.internal',
    '.sotto.internal',
    '-a.sotto.internal',
    'a.*.sotto.internal',
    'https://sotto.internal',
    'sotto.internal:443',
    'sotto.internal/a',
    'sotto.internal.',
    '%61.sotto.internal',
    `${'a'.repeat(64)}.sotto.internal`,
    '10.77.0.0/24',
    '0x0a.77.0.1',
    'fd12:3456:789a::1%wg0',
  ])
    it(`for ${JSON.stringify(name)}, which is no name, is refused`, async () => {
      await expect(issueLeaf(await make(), { names: [name] })).rejects.toMatchObject({
        code: 'not_permitted',
        message: expect.stringContaining('neither a host name nor an IP address'),
      })
    })

  it('is refused where no name is given', async () => {
    await expect(issueLeaf(await make(), { names: [] })).rejects.toMatchObject({ code: 'not_permitted' })
  })
})

describe('the leaf of a directory', () => {
  const names = ['10.77.0.1', '*.sotto.internal', 'FD12:3456:789A:0::1']

  it('is kept until two thirds of its life, and issued anew after', async () => {
    const authority = await make()
    const first = await ensureLeaf(authority, directory(), { names })
    expect(first.issued).toBe(true)
    const kept = await ensureLeaf(authority, directory(), { names, now: inDays(59.9) })
    expect(kept).toEqual({ ...first, issued: false })
    const renewed = await ensureLeaf(authority, directory(), { names, now: inDays(60) })
    expect(renewed.issued).toBe(true)
    expect(renewed.notAfter > first.notAfter).toBe(true)
    expect(await readFile(at('leaf.crt'), 'utf8')).toBe(renewed.cert)
  })

  it('is for its owner alone', async () => {
    await ensureLeaf(await make(), directory(), { names })
    for (const file of ['leaf.crt', 'leaf.key']) expect((await stat(at(file))).mode & 0o777).toBe(0o600)
  })

  it('is kept for the same names in another order and spelling', async () => {
    const authority = await make()
    await ensureLeaf(authority, directory(), { names })
    const other = ['fd12:3456:789a::1', '*.SOTTO.internal', '10.77.0.1', '10.77.0.1']
    expect((await ensureLeaf(authority, directory(), { names: other })).issued).toBe(false)
  })

  const spoilt: Record<string, (leaf: Leaf) => Promise<unknown>> = {
    'its certificate is gone': () => rm(at('leaf.crt')),
    'its key is gone': () => rm(at('leaf.key')),
    'its certificate is damaged': ({ cert }) => writeFile(at('leaf.crt'), cert.slice(0, 200)),
    'its key is damaged': ({ key }) => writeFile(at('leaf.key'), key.slice(0, 80)),
    'its key is another’s': async () => writeFile(at('leaf.key'), keyPem((await makeKeyPair()).privateKey)),
    'its chain is cut': ({ cert }) => writeFile(at('leaf.crt'), new X509Certificate(cert).toString()),
  }
  for (const [what, spoil] of Object.entries(spoilt))
    it(`is issued anew where ${what}`, async () => {
      const authority = await make()
      await spoil(await ensureLeaf(authority, directory(), { names }))
      expect((await ensureLeaf(authority, directory(), { names })).issued).toBe(true)
    })

  for (const [what, other] of [
    ['comes', [...names, '10.77.0.2']],
    ['goes', names.slice(1)],
  ] as const)
    it(`is issued anew where a name ${what}`, async () => {
      const authority = await make()
      await ensureLeaf(authority, directory(), { names })
      expect((await ensureLeaf(authority, directory(), { names: other })).issued).toBe(true)
    })

  it('is issued anew by another CA of the same name', async () => {
    await ensureLeaf(await make(), directory(), { names })
    const other = await makeAuthority(at('other'), home)
    expect((await ensureLeaf(other, directory(), { names })).issued).toBe(true)
  })
})

describe('a kept leaf', () => {
  const names = ['10.77.0.1']
  const minute = 60_000
  let stop = (): void => {}
  afterEach(() => {
    stop()
    vi.useRealTimers()
  })

  /** Each next leaf handed over, or failure told, as they come. */
  const keep = (authority: Authority, load = async () => authority) => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] })
    const waiting: ((what: unknown) => void)[] = []
    const tell = (what: unknown): void => waiting.shift()?.(what)
    return {
      next: () => new Promise<unknown>((settle) => waiting.push(settle)),
      /** Once the look before is over: there is one at a time. */
      async pass(ms: number) {
        await new Promise((settle) => setImmediate(settle))
        vi.advanceTimersByTime(ms)
      },
      start: () => {
        stop = keepLeaf(load, directory(), { names }, { renewed: tell, failed: tell })
      },
    }
  }

  it('is handed over when it is issued at the first look', async () => {
    const { start, next } = keep(await make())
    const first = next()
    start()
    expect(await first).toMatchObject({ cert: await readFile(at('leaf.crt'), 'utf8') })
  })

  it('is handed over within a minute of being due, though the machine slept through its date', async () => {
    const authority = await make()
    const { start, next, pass } = keep(authority)
    const first = next()
    start()
    const { notAfter } = (await first) as Leaf
    const renewed = next()
    vi.setSystemTime(inDays(75))
    await pass(minute)
    expect(((await renewed) as Leaf).notAfter > notAfter).toBe(true)
  })

  it('tells of a failure and is tried again a minute later', async () => {
    const authority = await make()
    const { start, next, pass } = keep(authority)
    // No file can be written over a directory that is not empty.
    await makeAuthority(at('leaf.crt'), home)
    const failure = next()
    start()
    expect(await failure).toMatchObject({ code: 'inaccessible' })
    await rm(at('leaf.crt'), { recursive: true })
    const mended = next()
    await pass(minute)
    expect(await mended).toMatchObject({ cert: await readFile(at('leaf.crt'), 'utf8') })
  })

  it('is issued anew where the clock was set back to before it was issued', async () => {
    const { start, next, pass } = keep(await make())
    const first = next()
    start()
    const { cert } = (await first) as Leaf
    const again = next()
    vi.setSystemTime(inDays(-0.5))
    await pass(minute)
    expect(new X509Certificate(((await again) as Leaf).cert).validFromDate < new Date()).toBe(true)
    expect(((await again) as Leaf).cert).not.toBe(cert)
  })

  it('whose CA has ended says which command mends it, and is issued once that was done', async () => {
    const authority = await make()
    const { start, next, pass } = keep(authority, () => loadAuthority(directory()))
    const first = next()
    start()
    await first
    const failure = next()
    const later = new Date(authority.intermediateNotAfter.getTime() + 86_400_000)
    vi.setSystemTime(later)
    await pass(minute)
    expect(await failure).toMatchObject({
      code: 'expired',
      remedy: expect.stringContaining('./sotto cert renew'),
    })
    await renewIntermediate(directory(), createPrivateKey(await readFile(at('root.key'), 'utf8')))
    const mended = next()
    await pass(minute)
    expect(((await mended) as Leaf).notAfter > later).toBe(true)
  })

  it('is looked at no more once stopped', async () => {
    const { start, next } = keep(await make())
    const first = next()
    start()
    await first
    stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})
