/** Gateways of one house on one Valkey, with a lender at one of them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeAuthority } from '@sotto/certs/authority.ts'
import { ensureLeaf, readLeaf } from '@sotto/certs/leaf.ts'
import { Agent, request } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { serveApi, type ServedApi, type ServeOptions } from '#api/serve.fixture.ts'
import { json, left, ndjson, serve, serveOllama, type Call } from '#engines/upstream.fixture.ts'
import { createBackoff } from '#tunnel/backoff.ts'
import { lend, type LenderOptions } from '#tunnel/lender.ts'
import { startRedis, type Redis } from '#valkey/redis.fixture.ts'
import { openDoor, secretHeader } from './door.ts'

let redis: Redis
let certs: string
const closers: (() => unknown)[] = []
beforeEach(async () => {
  redis = await startRedis()
  certs = await mkdtemp(join(tmpdir(), 'sotto-neighbours-'))
  const authority = await makeAuthority(certs, {
    name: 'House',
    permitted: { dns: ['sotto.internal'], ip: ['127.0.0.1/32'] },
  })
  await ensureLeaf(authority, certs, { names: ['sotto.internal'] })
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  await redis.close()
  await rm(certs, { recursive: true })
})

async function gateway(options: ServeOptions = {}): Promise<ServedApi> {
  const api = await serveApi({
    lookEveryMs: 100,
    keys: { rig: { services: ['lend', 'chat', 'echo'] } },
    valkey: { url: redis.url },
    certs,
    ...options,
  })
  closers.push(api.close)
  return api
}

function lendTo(api: ServedApi, lending: LenderOptions['lending']) {
  const lender = lend({
    to: api.url,
    key: api.secrets.rig ?? '',
    name: 'rig',
    backoff: createBackoff(() => 0),
    lending,
    offer: {
      version: '1',
      ollama: lending.ollama !== undefined,
      whisper: false,
      services: lending.services.map(({ name }) => name),
      parallel: 64,
      hardware: { system: 'Linux', cpu: { model: 'test', cores: 2 }, memoryBytes: 1, gpus: [] },
    },
  })
  closers.push(lender.close)
  return lender
}

const ask = (api: ServedApi, path: string, init: Omit<RequestInit, 'headers'> = {}) =>
  fetch(api.url + path, {
    method: 'POST',
    ...init,
    headers: { authorization: `Bearer ${api.secrets.rig}` },
  })
const chat = (stream = false) => ({ body: JSON.stringify({ model: 'tiny', stream, messages: [] }) })
const hi = ({ response }: Call) => json(response, 200, { message: { content: 'Hi' }, done: true })
/** Seconds, not the one that it takes: the machine may be busy. */
const soon = { timeout: 15_000 }
const neighboursOf = async (api: ServedApi) =>
  ((await (await fetch(`${api.url}/health`)).json()) as { neighbours?: number }).neighbours

describe('a lender at a neighbour', () => {
  it('is asked by its name and among all models, and is counted where it was asked', async () => {
    const ollama = await serveOllama(hi)
    closers.push(ollama.close)
    const [one, two] = [await gateway(), await gateway()]
    lendTo(two, { services: [], ollama: ollama.url })
    await expect.poll(async () => (await ask(one, '/users/ada/rig/api/chat', chat())).status, soon).toBe(200)
    expect(await neighboursOf(one)).toBe(1)
    await expect
      .poll(async () => (await ask(one, '/api/chat', chat())).headers.get('content-type'), soon)
      .toContain('json')
    const tags = (await (await ask(one, '/api/tags', { method: 'GET' })).json()) as { models: object[] }
    expect(tags.models).toMatchObject([{ name: 'tiny:latest' }])
    const asked = (await one.rows('audit')).filter(({ status }) => status === 200)
    expect(asked.some(({ backend, path }) => backend === 'ada/rig' && path === '/api/chat')).toBe(true)
    expect((await two.rows('audit')).filter(({ service }) => service === 'chat')).toEqual([])
  })

  it('is passed bytes both ways, and its answer as it comes', async () => {
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, at) => at % 256))
    const echo = await serve(({ body, response, request: { url } }) => {
      response.writeHead(200, { 'content-type': 'audio/wav' })
      response.end(url === '/say?voice=a' ? body : 'no query')
    })
    const first = Promise.withResolvers<void>()
    const ollama = await serveOllama(async ({ response }) => {
      const line = ndjson(response)
      line({ message: { content: 'one' }, done: false })
      await first.promise
      line({ message: { content: 'two' }, done: true })
      response.end()
    })
    closers.push(echo.close, ollama.close)
    const [one, two] = [await gateway(), await gateway()]
    lendTo(two, { services: [{ name: 'echo', url: `${echo.url}/say` }], ollama: ollama.url })
    const say = () => ask(one, '/users/ada/rig/services/echo/say?voice=a', { body: bytes })
    await expect.poll(async () => (await say()).status, soon).toBe(200)
    expect(Buffer.from(await (await say()).arrayBuffer()).equals(bytes)).toBe(true)
    const stream = await ask(one, '/users/ada/rig/api/chat', chat(true))
    const reader = stream.body!.getReader()
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toContain('one')
    first.resolve()
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toContain('two')
  })

  it('stops when the client leaves', async () => {
    const gone = Promise.withResolvers<void>()
    const ollama = await serveOllama(({ response }) => {
      void left(response).then(gone.resolve)
      ndjson(response)({ message: { content: 'on' }, done: false })
    })
    closers.push(ollama.close)
    const [one, two] = [await gateway(), await gateway()]
    lendTo(two, { services: [], ollama: ollama.url })
    const leave = new AbortController()
    let answer: Response | undefined
    await expect
      .poll(async () => {
        answer = await ask(one, '/users/ada/rig/api/chat', { ...chat(true), signal: leave.signal })
        return answer.status
      }, soon)
      .toBe(200)
    await answer?.body?.getReader().read()
    leave.abort()
    await gone.promise
  })

  it('is no more when it goes, and when its gateway does', async () => {
    const ollama = await serveOllama(hi)
    closers.push(ollama.close)
    const [one, two] = [
      await gateway(),
      await serveApi({ keys: { rig: { services: ['lend'] } }, valkey: { url: redis.url }, certs }),
    ]
    const lender = lendTo(two, { services: [], ollama: ollama.url })
    const status = async () => (await ask(one, '/users/ada/rig/api/chat', chat())).status
    await expect.poll(status, soon).toBe(200)
    await lender.close()
    await expect.poll(status, soon).toBe(404)
    await two.close()
    await expect.poll(() => neighboursOf(one), soon).toBe(0)
  })
})

describe('the door for neighbours', () => {
  it('opens to the secret alone, and leads to lenders alone', async () => {
    const found: string[] = []
    const certificate = (await readLeaf(certs))!
    const door = await openDoor({
      listen: { host: '127.0.0.1', port: 0 },
      certificate,
      secret: 'right',
      hub: { find: (person, name) => void found.push(`${person}/${name}`) },
    })
    closers.push(door.close)
    const dispatcher = new Agent({ connect: { rejectUnauthorized: false } })
    closers.push(() => dispatcher.close())
    const knock = async (secret: string, path: string) =>
      (
        await request(`https://127.0.0.1:${door.port}${path}`, {
          dispatcher,
          headers: { [secretHeader]: secret },
        })
      ).statusCode
    for (const secret of ['', 'wrong', 'right and more'])
      expect(await knock(secret, '/ada/rig/ollama/api/chat')).toBe(404)
    expect(found).toEqual([])
    // No lender: the path breaks off, as when it had gone.
    for (const path of ['/ada/rig/ollama/api/chat', '/api/chat', '/users/ada/rig/api/chat'])
      await expect(knock('right', path)).rejects.toThrow()
    expect(found).toEqual(['ada/rig', '/', 'users/ada'])
  })

  it('stays shut to a gateway that has not the secret, and is not spoken to by one of another house', async () => {
    const ollama = await serveOllama(hi)
    const elsewhere = await mkdtemp(join(tmpdir(), 'sotto-neighbours-'))
    closers.push(ollama.close, () => rm(elsewhere, { recursive: true }))
    const permitted = { dns: ['sotto.internal'], ip: ['127.0.0.1/32'] }
    const other = await makeAuthority(elsewhere, { name: 'Other', permitted })
    await ensureLeaf(other, elsewhere, { names: ['sotto.internal'] })
    const two = await gateway()
    const strangers = [await gateway({ neighbourSecret: 'another' }), await gateway({ certs: elsewhere })]
    lendTo(two, { services: [], ollama: ollama.url })
    const own = () => ask(two, '/users/ada/rig/api/chat', chat())
    await expect.poll(async () => (await own()).status, soon).toBe(200)
    const { length } = ollama.calls
    for (const stranger of strangers) {
      await expect
        .poll(async () => (await ask(stranger, '/users/ada/rig/api/chat', chat())).status, soon)
        .toBe(503)
      expect((await ask(stranger, '/api/chat', chat())).status).toBe(200)
    }
    // What answered there was the demo.
    expect(ollama.calls).toHaveLength(length)
  })
})
