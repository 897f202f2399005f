/** A friend's gateway that does not keep to what was agreed: what it says is bounded, and what it asks is inference. */
import { unlimited } from '@sotto/provisioning/registry/allowance.ts'
import { afterEach, describe, expect, it } from 'vitest'
import { serveApi } from '#api/serve.fixture.ts'
import { createEngines } from '#engines/discovery.ts'
import { json, serveOllama, silentLog, type Call } from '#engines/upstream.fixture.ts'
import type { Member } from '#identity/caller.ts'
import { dialTunnel } from '#tunnel/dial.ts'
import { TunnelDispatcher } from '#tunnel/dispatcher.ts'
import { connectMuxes } from '#tunnel/tunnel.fixture.ts'
import type { Stream, StreamEvents } from '#tunnel/mux.ts'
import { createFriendBackend, type FriendBackend } from './backend.ts'
import { mostAtOnce } from './protocol.ts'
import { sharedPath } from './shared.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A friend that says these lines of what it shares. */
async function hear(...lines: readonly string[]) {
  const engines = await createEngines({ backends: [], log: silentLog, everyMs: 60_000 })
  const made: { backend?: FriendBackend } = {}
  const leave = engines.befriend((changed) => (made.backend = createFriendBackend('ada', changed)))
  closers.push(engines.close, leave)
  const ends = connectMuxes((_json, stream) => {
    stream.head(JSON.stringify({ status: 200, headers: { 'content-type': 'application/x-ndjson' } }))
    for (const line of lines) stream.write(Buffer.from(`${line}\n`))
    return { data() {}, end() {}, reset() {} }
  })
  const followed = made.backend?.follow(new TunnelDispatcher(ends.gateway))
  return { engines, followed, names: () => engines.pool.models.map(({ name }) => name) }
}

const list = (...names: readonly string[]) =>
  JSON.stringify({ models: names.map((name) => ({ name })), details: {} })

describe('what a friend says it shares', () => {
  it('is taken up as it changes', async () => {
    const { names } = await hear(list('tiny'), list('tiny', 'large'))
    await expect.poll(names).toEqual(['tiny@ada', 'large@ada'])
  })

  it.each([
    ['no JSON', '<html>'],
    ['names of another friend’s', list('tiny@eve')],
    ['names that write over a terminal', list('\u001b[2J')],
    ['names without an end', list('a'.repeat(300))],
    ['more models than anybody has', list(...Array.from({ length: 1_001 }, (_, at) => `m${at}`))],
    ['a line without an end', 'x'.repeat(2 * 1024 * 1024)],
  ])('is not taken up where it is %s, and takes away what was there', async (_, line) => {
    const { followed, names } = await hear(list('tiny'), line)
    await followed
    expect(names()).toEqual([])
  })
})

describe('what a friend answers', () => {
  /** A gateway whose friend answers by hand. */
  async function open(contentType: string, ...chunks: readonly string[]) {
    const api = await serveApi()
    closers.push(api.close)
    const tenant = { id: 'friend:mesh-eve', name: 'friend-eve', disabledAt: null }
    const member: Member = { kind: 'device', name: 'eve', tenant, admin: false, held: [] }
    api.friends.update([{ meshId: 'mesh-eve', name: 'eve', member }])
    const url = new URL(`${api.url.replace('http', 'ws')}/friend?mesh=mesh-eve&role=answers`)
    const accept = (request: string, stream: Stream): StreamEvents => {
      const isList = request.includes(sharedPath)
      const head = { status: 200, headers: { 'content-type': isList ? 'application/x-ndjson' : contentType } }
      stream.head(JSON.stringify(head))
      for (const chunk of isList ? [`${list('tiny')}\n`] : chunks) stream.write(Buffer.from(chunk))
      if (!isList) stream.end()
      return { data() {}, end() {}, reset() {} }
    }
    const link = await dialTunnel({ url, key: 'secret of mesh-eve', accept }, AbortSignal.timeout(5_000))
    closers.push(() => link.close(1000, ''))
    const ask = (path: string) =>
      fetch(api.url + path, { method: 'POST', body: '{"model":"tiny@eve","prompt":"Hi"}' })
    await expect.poll(async () => (await ask('/v1/messages/count_tokens')).status).toBe(200)
    return { ...api, ask }
  }

  it('without an end is cut, and the gateway goes on', async () => {
    const { ask } = await open('application/x-ndjson', '{"response":"', 'x'.repeat(17 * 1024 * 1024))
    expect(await (await ask('/api/generate')).text()).toMatch(/^\{"error":"eve’s gateway broke off/)
    expect((await ask('/v1/messages/count_tokens')).status).toBe(200)
  })

  it('has headers that can be sent on', async () => {
    const { ask } = await open('application/json\r\nset-cookie: x', '{}')
    expect((await ask('/api/generate')).status).toBe(503)
    expect((await ask('/v1/messages/count_tokens')).status).toBe(200)
  })

  it('is no page', async () => {
    const { ask } = await open('text/html', '<script>alert(1)</script>')
    const answer = await ask('/api/generate')
    expect(answer.status).toBe(502)
    expect(await answer.json()).toEqual({ error: 'eve’s gateway sent what is no answer.' })
  })

  it('counts no more tokens than there can be', async () => {
    const { ask, rows } = await open(
      'application/x-ndjson',
      '{"model":"tiny","response":"Hi","done":true,"prompt_eval_count":1e300,"eval_count":0.5}\n',
    )
    await (await ask('/api/generate')).text()
    expect(await rows('audit')).toContainEqual(
      expect.objectContaining({ backend: '@eve', input_tokens: 100_000_000, output_tokens: 0 }),
    )
  })
})

describe('what a friend asks', () => {
  /** Asks past its own gateway. */
  async function open(
    member: Partial<Member['held'][number]> = {},
    answer: (call: Call) => unknown = ({ response }) => json(response, 200, { done: true }),
  ) {
    const ollama = await serveOllama(answer)
    const api = await serveApi({ ollama: ollama.url, keys: { admins: {} } })
    closers.push(ollama.close, api.close)
    const tenant = { id: 'friend:mesh-eve', name: 'friend-eve', disabledAt: null }
    const held = {
      ...unlimited,
      models: ['*'],
      services: ['chat'],
      subject: tenant.id,
      label: 'eve',
      ...member,
    }
    const friend: Member = { kind: 'device', name: 'eve', tenant, admin: false, held: [held] }
    api.friends.update([{ meshId: 'mesh-eve', name: 'eve', member: friend }])
    const url = new URL(`${api.url.replace('http', 'ws')}/friend?mesh=mesh-eve&role=asks`)
    const link = await dialTunnel({ url, key: 'secret of mesh-eve' }, AbortSignal.timeout(5_000))
    closers.push(() => link.close(1000, ''))
    const tunnel = new TunnelDispatcher(link.mux)
    const ask = async (method: 'GET' | 'POST' | 'DELETE', path: string, body?: object, headers = {}) => {
      const { statusCode, body: said } = await tunnel.request({
        method,
        path,
        headers: { 'content-type': 'application/json', ...headers },
        ...(body && { body: JSON.stringify(body) }),
      })
      return { status: statusCode, text: await said.text() }
    }
    return { ...api, ollama, ask }
  }

  it('is inference: nothing of the house’s is read or changed, whatever it sends along', async () => {
    const { ask, ollama, secrets } = await open()
    const headers = {
      authorization: `Bearer ${secrets.admins}`,
      host: '127.0.0.1',
      origin: 'https://127.0.0.1',
    }
    for (const [method, path] of [
      ['POST', '/api/pull'],
      ['DELETE', '/api/delete'],
      ['POST', '/api/create'],
      ['GET', '/sotto/admin/overview'],
      ['GET', '/sotto/conversations'],
      ['GET', '/metrics'],
      ['GET', '/openapi.json'],
      ['POST', '/v1/audio/transcriptions'],
      ['POST', '/v1/images/generations'],
      ['POST', '/users/ada/rig/api/chat'],
      ['GET', '/'],
    ] as const) {
      const { status } = await ask(method, path, method === 'POST' ? { model: 'tiny' } : undefined, headers)
      expect([400, 403, 404, 405], path).toContain(status)
    }
    expect(ollama.calls).toEqual([])
    // A key of the house makes it nobody else.
    expect((await ask('POST', '/v1/embeddings', { model: 'tiny', input: 'x' }, headers)).status).toBe(403)
  })

  it('that is no HTTP is refused, and the gateway goes on', async () => {
    const { ask } = await open()
    for (const path of ['/a b', '/ä', '/a\r\nx: y', '/\u0000'])
      expect((await ask('GET', path)).status, JSON.stringify(path)).toBe(400)
    expect((await ask('DELETE', '/api/tags')).status).toBe(400)
    const headers = { 'content-type': 'a\r\nb: c' }
    expect((await ask('POST', '/api/chat', { model: 'tiny' }, headers)).status).toBe(400)
    expect((await ask('GET', '/api/version')).status).toBe(200)
  })

  it('is held to its grants, whatever name it says', async () => {
    const { ask } = await open({ models: ['large'] })
    for (const model of ['tiny', 'tiny:latest', 'tiny@eve', '@', 'tiny@'])
      expect((await ask('POST', '/api/chat', { model, messages: [] })).status, model).toBe(404)
    expect((await ask('GET', '/api/tags')).text).toBe('{"models":[]}')
  })

  it('is let in so often at once, and told to come later above that', async () => {
    const waiting: Call[] = []
    const { ask } = await open({}, (call) => waiting.push(call))
    const chat = () => ask('POST', '/api/chat', { model: 'tiny', stream: false })
    const first = Array.from({ length: mostAtOnce }, chat)
    await expect.poll(() => waiting.length).toBe(mostAtOnce)
    expect((await chat()).status).toBe(503)
    for (const { response } of waiting) json(response, 200, { done: true })
    for (const { status } of await Promise.all(first)) expect(status).toBe(200)
    const after = chat()
    await expect.poll(() => waiting.length).toBe(mostAtOnce + 1)
    for (const { response } of waiting.slice(mostAtOnce)) json(response, 200, { done: true })
    expect((await after).status).toBe(200)
  })
})
