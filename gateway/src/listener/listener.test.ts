/** The listener over real sockets: TLS and plain HTTP on one port, and a leaf that is renewed under way. */
import { mkdtemp, rm } from 'node:fs/promises'
import { get as getPlain } from 'node:http'
import { get } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { makeAuthority, type Authority } from '@sotto/certs/authority.ts'
import { issueLeaf } from '@sotto/certs/leaf.ts'
import { Hono } from 'hono'
import { stream } from 'hono/streaming'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AppEnv } from '#identity/app-env.ts'
import { listen, type Listener } from './listener.ts'

describe('the listener', () => {
  let directory: string
  let authority: Authority
  let listener: Listener
  /** Lets the open stream say its next word. */
  let next: () => void
  const issue = () => issueLeaf(authority, { names: ['127.0.0.1'] })

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sotto-listener-'))
    authority = await makeAuthority(directory, {
      name: 'Sotto CA',
      permitted: { dns: ['sotto.internal'], ip: ['127.0.0.1/32'] },
    })
    const app = new Hono<AppEnv>()
    app.get('/', (c) => c.text('secure'))
    app.get('/stream', (c) =>
      stream(c, async (out) => {
        for (const word of ['one ', 'two ', 'three']) {
          await out.write(word)
          await new Promise<void>((settle) => (next = settle))
        }
      }),
    )
    const plain = new Hono<AppEnv>()
    plain.get('/', (c) => c.text('plain'))
    listener = await listen({
      addresses: ['127.0.0.1'],
      port: 0,
      certificate: await issue(),
      app,
      plain,
      upgrade: (_, socket) => socket.destroy(),
      admits: () => true,
    })
  })
  afterAll(async () => {
    await listener.close()
    await rm(directory, { recursive: true })
  })

  const ask = (module: typeof get, url: string): Promise<string> =>
    new Promise((settle, fail) => {
      module(url, { ca: authority.rootCertificate, agent: false }, (answer) => {
        let text = ''
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
        answer.on('end', () => settle(text))
      }).on('error', fail)
    })
  const serial = (): Promise<string> =>
    new Promise((settle, fail) => {
      const socket = connectTls(
        { host: '127.0.0.1', port: listener.port, ca: authority.rootCertificate },
        () => {
          settle(socket.getPeerCertificate().serialNumber)
          socket.destroy()
        },
      )
      socket.on('error', fail)
    })

  it('tells TLS from plain HTTP on one port', async () => {
    expect(await ask(get, `https://127.0.0.1:${listener.port}/`)).toBe('secure')
    expect(await ask(getPlain, `http://127.0.0.1:${listener.port}/`)).toBe('plain')
  })

  it('ends what is neither', async () => {
    const said = await new Promise<string>((settle) => {
      const socket = connect(listener.port, '127.0.0.1', () => socket.write('\0\0\0\0\r\n\r\n'))
      let text = ''
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
      socket.on('error', () => {})
      socket.on('close', () => settle(text))
    })
    expect(said).toMatch(/^(HTTP\/1\.1 400|$)/)
  })

  it('waits for a first byte that comes late', async () => {
    const said = await new Promise<string>((settle) => {
      const socket = connect(listener.port, '127.0.0.1')
      setTimeout(() => socket.write('GE'), 100)
      setTimeout(() => socket.write('T / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'), 200)
      let text = ''
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
      socket.on('close', () => settle(text))
    })
    expect(said).toMatch(/plain$/)
  })

  it('shows a renewed leaf to whoever comes then, and lets an open stream go on', async () => {
    const before = await serial()
    const words: string[] = []
    const ended = new Promise<void>((settle, fail) => {
      get(
        `https://127.0.0.1:${listener.port}/stream`,
        { ca: authority.rootCertificate, agent: false },
        (answer) => {
          answer.on('data', (chunk: Buffer) => words.push(chunk.toString()))
          answer.on('end', settle)
          answer.on('error', fail)
        },
      ).on('error', fail)
    })
    await expect.poll(() => words.join('')).toBe('one ')
    listener.renew(await issue())
    expect(await serial()).not.toBe(before)
    next()
    await expect.poll(() => words.join('')).toBe('one two ')
    next()
    await expect.poll(() => words.join('')).toBe('one two three')
    next()
    await ended
  })
})
