/** Who holds sockets without using them, or speaks as slowly as can be, beside a caller who wants an answer. */
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:https'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { makeAuthority, type Authority } from '@sotto/certs/authority.ts'
import { issueLeaf } from '@sotto/certs/leaf.ts'
import { Hono } from 'hono'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { AppEnv } from '#identity/app-env.ts'
import { listen, type Listener } from './listener.ts'

describe('beside who floods the listener', () => {
  let directory: string
  let authority: Authority
  let listener: Listener
  const sockets: Socket[] = []

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sotto-flood-'))
    authority = await makeAuthority(directory, {
      name: 'Sotto CA',
      permitted: { dns: ['sotto.internal'], ip: ['127.0.0.0/8'] },
    })
    const app = new Hono<AppEnv>()
    app.get('/', (c) => c.text('secure'))
    app.post('/', async (c) => c.text(await c.req.text().catch(() => '')))
    const plain = new Hono<AppEnv>()
    plain.get('/', (c) => c.text('plain'))
    listener = await listen({
      addresses: ['127.0.0.1'],
      port: 0,
      certificate: await issueLeaf(authority, { names: ['127.0.0.1'] }),
      app,
      plain,
      upgrade: (_, socket) => socket.destroy(),
      admits: () => true,
      socketsPerAddress: 100,
      headMs: 100,
    })
  })
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy()
  })
  afterAll(async () => {
    await listener.close()
    await rm(directory, { recursive: true })
  })

  /** From an address of its own, as another device has one. */
  const good = (): Promise<string> =>
    new Promise((settle, fail) => {
      request(
        `https://127.0.0.1:${listener.port}/`,
        { ca: authority.rootCertificate, agent: false, localAddress: '127.0.0.2' },
        (answer) => answer.on('data', (chunk: Buffer) => settle(chunk.toString())),
      )
        .on('error', fail)
        .end()
    })
  const kept = (socket: Socket): Socket => {
    sockets.push(socket)
    return socket.on('error', () => {})
  }
  /** Over TLS, and what came until the other side closed. */
  const says = (text: string): Promise<string> =>
    new Promise((settle, fail) => {
      // Not from where the sockets were, some of which may still be ending.
      const from = { localAddress: '127.0.0.3' }
      const lower = connect({ host: '127.0.0.1', port: listener.port, ...from }).on('error', fail)
      const options = { socket: lower, host: '127.0.0.1', ca: authority.rootCertificate }
      const socket = connectTls(options, () => {
        lower.off('error', fail)
        socket.write(text)
      })
      let heard = ''
      kept(socket)
      socket.on('data', (chunk: Buffer) => (heard += chunk.toString()))
      socket.on('close', () => settle(heard))
    })

  it('another is served, and one address holds so many sockets and no more', async () => {
    for (let at = 0; at < 400; at += 1) kept(connect(listener.port, '127.0.0.1'))
    await expect.poll(() => sockets.filter(({ destroyed }) => destroyed).length).toBe(300)
    expect(await good()).toBe('secure')
  })

  it('a request whose head never ends is given up (Node looks only where a server listens itself)', async () => {
    expect(await says('GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ')).toMatch(/^HTTP\/1\.1 408/)
    expect(await good()).toBe('secure')
  })

  it('one whose body never ends, too', async () => {
    expect(await says('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n1')).toMatch(
      /^(HTTP\/1\.1 408|$)/,
    )
  })

  it('and one whose head is larger than any', async () => {
    expect(await says(`GET / HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(1_000_000)}\r\n\r\n`)).toMatch(
      /^(HTTP\/1\.1 431|$)/,
    )
    expect(await good()).toBe('secure')
  })
})
