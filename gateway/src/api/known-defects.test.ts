/**
 * What users of other gateways, and of Ollama, suffer from: each is named, and is none here. Those of tunnels and
 * of relays between gateways are held to where those are built.
 */
import { readFile } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { OpenAI } from 'openai'
import { afterEach, describe, expect, it } from 'vitest'
import { serveApi, type ServeOptions } from '#api/serve.fixture.ts'
import { json, left, ndjson, serve, serveOllama, type Call } from '#engines/upstream.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const asked = [{ role: 'user', content: 'a secret question' }]
const answered = ({ response, route }: Call) =>
  json(
    response,
    200,
    route.startsWith('POST /v1')
      ? {
          choices: [{ message: { content: 'Hi' } }],
          usage: { prompt_tokens: 5, completion_tokens: 3, input_tokens: 5, output_tokens: 3 },
        }
      : { message: { content: 'Hi' }, done: true, prompt_eval_count: 5, eval_count: 3 },
  )

async function open(answer: (call: Call) => unknown = answered, options: ServeOptions = {}) {
  const ollama = await serveOllama(answer)
  const api = await serveApi({ ollama: ollama.url, ...options })
  closers.push(ollama.close, api.close)
  const ask = (path = '/api/chat', body: object = {}, headers: Record<string, string> = {}) =>
    fetch(`${api.url}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ model: 'tiny', stream: false, messages: asked, max_tokens: 5, ...body }),
    })
  return { ...api, ollama, ask }
}

const service = (upstream: string) => ({
  name: 'any',
  upstream,
  paths: ['/*'],
  methods: ['GET', 'POST'],
  timeoutMs: 5_000,
})

describe('a relay for a user’s hardware (Neural Gateway)', () => {
  it('forwarded any method and path, so that a key could delete models', async () => {
    const { url, secrets, ollama } = await open(answered, { keys: { script: {} } })
    for (const [method, path] of [
      ['DELETE', '/api/delete'],
      ['POST', '/api/delete'],
      ['POST', '/api/create'],
      ['PUT', '/api/chat'],
      ['DELETE', '/v1/models/tiny'],
    ] as const) {
      const headers = { authorization: `Bearer ${secrets.script}` }
      const { status } = await fetch(`${url}${path}`, { method, headers, body: '{"model":"tiny"}' })
      expect([403, 405, 404], `${method} ${path}`).toContain(status)
    }
    expect(ollama.calls).toEqual([])
  })

  it('forced answers into one piece of JSON: no streams, no binary, no headers, no query', async () => {
    const held = Promise.withResolvers<void>()
    const { url } = await open(async ({ response }) => {
      const line = ndjson(response)
      line({ message: { content: 'first' }, done: false })
      await held.promise
      line({ message: { content: '' }, done: true })
      response.end()
    })
    const answer = await fetch(`${url}/api/chat`, {
      method: 'POST',
      body: JSON.stringify({ model: 'tiny', messages: asked }),
    })
    const reader = answer.body!.getReader()
    // Before the last one was made.
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toContain('first')
    held.resolve()
    await reader.cancel()
    const bytes = Buffer.from([0, 255, 128, 10, 13, 0])
    const binary = await serve(({ response }) =>
      response
        .writeHead(200, { 'content-type': 'image/png', 'content-disposition': 'inline; filename=a.png' })
        .end(bytes),
    )
    const api = await serveApi({ services: [service(binary.url)] })
    closers.push(binary.close, api.close)
    const got = await fetch(`${api.url}/services/any/a?b=c%20d&e`)
    expect(Buffer.from(await got.arrayBuffer())).toEqual(bytes)
    expect(got.headers.get('content-type')).toBe('image/png')
    expect(got.headers.get('content-disposition')).toBe('inline; filename=a.png')
    expect(binary.calls[0]?.route).toBe('GET /a?b=c%20d&e')
  })

  it('took its key from the URL, from where it went into logs', async () => {
    const { url, secrets, rows } = await open(answered, { keys: { script: {} } })
    await fetch(`${url}/api/tags?key=${secrets.script}&api_key=${secrets.script}`)
    const [row] = await rows('audit')
    expect(row).toMatchObject({ path: '/api/tags', key: null })
    expect(JSON.stringify(row)).not.toContain(secrets.script)
  })

  it('compared keys character by character: one that is nearly right is as unknown as any', async () => {
    const { ask, secrets } = await open(answered, { keys: { script: {} } })
    const right = secrets.script ?? ''
    const near = right.slice(0, -1) + (right.endsWith('A') ? 'B' : 'A')
    const words = await Promise.all(
      [near, `sk-sotto-${'a'.repeat(61)}`].map(async (key) => {
        const refused = await ask('/api/chat', {}, { 'x-api-key': key })
        return [refused.status, await refused.text()]
      }),
    )
    expect(words[0]).toEqual(words[1])
    expect(words[0]?.[0]).toBe(401)
  })

  it('had no backpressure: one who does not read made it hold everything', async () => {
    const piece = Buffer.alloc(1024 * 1024, 'x')
    let written = 0
    const flood = await serve(({ response }) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' })
      const more = (): void => {
        while (written < 300 && !response.destroyed) {
          written += 1
          if (!response.write(piece)) return void response.once('drain', more)
        }
      }
      more()
    })
    const api = await serveApi({ services: [service(flood.url)] })
    closers.push(flood.close, api.close)
    const before = process.memoryUsage().arrayBuffers
    const slow = request(`${api.url}/services/any/flood`)
    slow.on('response', (answer) => answer.pause())
    slow.on('error', () => {})
    slow.end()
    let last = -1
    // Until nothing moves any more.
    await expect
      .poll(
        () => {
          const still = written === last && written > 0
          last = written
          return still
        },
        { interval: 400, timeout: 10_000 },
      )
      .toBe(true)
    slow.destroy()
    expect(written).toBeLessThan(64)
    expect((process.memoryUsage().arrayBuffers - before) / 1e6).toBeLessThan(64)
  })
})

describe('a gateway for several services (selfmind)', () => {
  it('stored for which service a key is, and let it in everywhere', async () => {
    const { ask, secrets } = await open(answered, { keys: { voice: { services: ['speech'] } } })
    expect((await ask('/api/chat', {}, { 'x-api-key': secrets.voice ?? '' })).status).toBe(403)
  })

  it('looked at the end of a key only when its file was written anew', async () => {
    const { ask, secrets } = await open(answered, {
      keys: { brief: { expiresAt: new Date(Date.now() - 1_000).toISOString() } },
    })
    expect((await ask('/api/chat', {}, { 'x-api-key': secrets.brief ?? '' })).status).toBe(401)
  })

  it('kept payloads in its logs, and averages that were made up', async () => {
    const { ask, rows, ledger } = await open()
    expect((await ask()).status).toBe(200)
    const [row] = await rows('audit')
    expect(JSON.stringify(row)).not.toContain('secret question')
    expect((await readFile(ledger)).includes('secret question')).toBe(false)
    expect((await readFile(`${ledger}-wal`).catch(() => Buffer.alloc(0))).includes('secret question')).toBe(
      false,
    )
    expect(row).toMatchObject({ input_tokens: 5, output_tokens: 3, counted: 'upstream' })
    expect(Number(row?.duration_ms)).toBeGreaterThanOrEqual(0)
  })
})

describe('Ollama', () => {
  it('asks nobody who they are (ollama #1053, #8536, #12476, #9131)', async () => {
    const { createDirectory } = await import('#identity/directory.ts')
    const { createKeyring } = await import('#identity/keyring.ts')
    const { identify } = await import('#identity/identify.ts')
    const { network } = await import('./serve.fixture.ts')
    const identity = { directory: createDirectory(network), keyring: createKeyring() }
    for (const stranger of ['10.77.0.9', '192.168.1.2', '2001:db8::1', undefined])
      expect(() => identify(identity, stranger, {})).toThrow('no device of this network')
  })

  it('takes no key at its native paths (aider #4393, presenton #373, open-notebook #457)', async () => {
    const { ask, secrets, rows } = await open(answered, { keys: { script: {} } })
    for (const path of ['/api/chat', '/v1/chat/completions', '/v1/messages'])
      for (const [header, value] of [
        ['authorization', `Bearer ${secrets.script}`],
        ['authorization', `bearer ${secrets.script}`],
        ['x-api-key', secrets.script ?? ''],
      ] as const)
        expect((await ask(path, {}, { [header]: value })).status, path).toBe(200)
    expect(new Set((await rows('audit')).map(({ key }) => key))).toEqual(new Set(['script']))
  })

  it('sends empty chunks in its OpenAI layer (ollama #12420, #16450): they pass, and end nothing', async () => {
    const chunk = (choices: object[], more = {}) => `data: ${JSON.stringify({ choices, ...more })}\n\n`
    const stream = [
      chunk([{ index: 0, delta: { role: 'assistant', content: '' } }]),
      chunk([{ index: 0, delta: {} }]),
      chunk([{ index: 0, delta: { content: 'Hi' } }]),
      chunk([], {}),
      chunk([{ index: 0, delta: {}, finish_reason: 'stop' }]),
      chunk([], { usage: { prompt_tokens: 4, completion_tokens: 1 } }),
      'data: [DONE]\n\n',
    ]
    const { url, rows } = await open(({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const piece of stream) response.write(piece)
      response.end()
    })
    const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' })
    let text = ''
    const answer = await openai.chat.completions.create({
      model: 'tiny',
      messages: [{ role: 'user', content: 'x' }],
      stream: true,
    })
    for await (const { choices } of answer) text += choices[0]?.delta.content ?? ''
    expect(text).toBe('Hi')
    expect(await rows('audit')).toMatchObject([{ ended: 'whole', output_tokens: 1 }])
  })

  it('goes on where its client has left (ollama #2876, #11889; litellm #13774, #17364, #30223)', async () => {
    const gone = Promise.withResolvers<void>()
    const { url, ollama, rows } = await open(({ response }) => void left(response).then(gone.resolve))
    const abort = new AbortController()
    const answer = fetch(`${url}/api/chat`, {
      method: 'POST',
      signal: abort.signal,
      body: JSON.stringify({ model: 'tiny', stream: false, messages: asked }),
    })
    await expect.poll(() => ollama.calls.length).toBe(1)
    abort.abort()
    await expect(answer).rejects.toThrow()
    // Not streamed, and before its first byte; what the engine read for it counts.
    await gone.promise
    await expect.poll(async () => (await rows('audit')).length).toBe(1)
    expect(Number((await rows('audit'))[0]?.input_tokens)).toBeGreaterThan(0)
  })

  it('is not found behind a proxy by Open WebUI (olla #37, #80, #86, #87)', async () => {
    const { url } = await open()
    const plain = await fetch(url.replace('127.0.0.1', 'localhost') + '/api/version')
    expect(((await plain.json()) as { version: string }).version).toMatch(/^\d+(\.\d+)+$/)
    const { models } = (await (await fetch(`${url}/api/tags`)).json()) as { models: { name: string }[] }
    expect(models.map(({ name }) => name)).toEqual(['tiny:latest'])
    const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] }
    expect(data.map(({ id }) => id)).toEqual(['tiny:latest'])
    // What it sends to unload a model changes nothing here.
    const unload = await fetch(`${url}/api/generate`, {
      method: 'POST',
      body: '{"model":"tiny","keep_alive":0,"prompt":""}',
    })
    expect(unload.status).toBeLessThan(500)
  })
})

describe('LiteLLM, Bifrost, Portkey, Envoy', () => {
  it('blocked budgets that had not been spent (litellm #22726, #20615): what fails gives all back', async () => {
    const { ask, rows } = await open(({ response }) => json(response, 500, { error: 'out of memory' }), {
      tenant: { tokensPerDay: 400 },
    })
    for (let round = 0; round < 5; round += 1)
      expect((await ask('/api/chat', { options: { num_predict: 200 } })).status).toBe(502)
    expect(await rows('spending')).toMatchObject([{ used: 0, held: 0 }])
  })

  it('did not enforce budgets at all on some ways in (litellm #23714, #26672; bifrost #2873)', async () => {
    const { ask, ollama } = await open(answered, { tenant: { tokensInTotal: 1 } })
    for (const path of [
      '/api/chat',
      '/api/generate',
      '/v1/chat/completions',
      '/v1/responses',
      '/v1/messages',
    ])
      expect((await ask(path, { prompt: 'x', input: 'x' })).status, path).toBe(429)
    expect(ollama.calls).toEqual([])
  })

  it('counted no tokens of streams without usage (models-as-a-service #1473, envoy #1169, #1754)', async () => {
    const { ask, rows } = await open(
      ({ response }) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        for (let piece = 0; piece < 9; piece += 1)
          response.write('data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
        response.end('data: [DONE]\n\n')
      },
      { tenant: { tokensPerDay: 10_000 } },
    )
    await (await ask('/v1/chat/completions', { stream: true })).text()
    const [row] = await rows('audit')
    expect(row?.counted).toBe('counted')
    expect(Number(row?.output_tokens)).toBeGreaterThanOrEqual(9)
    expect(await rows('spending')).toMatchObject([
      { used: Number(row?.input_tokens) + Number(row?.output_tokens) },
    ])
  })

  it('ended a stream that was cut off as if it were whole (bifrost #5665, agent-os #2215, miii-cli #71)', async () => {
    const { url } = await open(({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end('data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n')
    })
    const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' })
    const stream = await openai.chat.completions.create({
      model: 'tiny',
      messages: [{ role: 'user', content: 'x' }],
      stream: true,
    })
    const reading = (async () => {
      for await (const _ of stream);
    })()
    await expect(reading).rejects.toBeInstanceOf(OpenAI.APIError)
  })

  it('grew with each request (litellm #12685, #15128, #27954)', async () => {
    setFlagsFromString('--expose-gc')
    const collect: unknown = runInNewContext('gc')
    const heap = (): number => {
      if (typeof collect === 'function') collect()
      return process.memoryUsage().heapUsed
    }
    // One that keeps nothing itself.
    const upstream = createServer((incoming, response) => {
      incoming.resume()
      if (incoming.url === '/api/tags') return json(response, 200, { models: [{ name: 'tiny:latest' }] })
      json(response, 200, { version: '0.33.0', message: { content: 'Hi' }, done: true, eval_count: 3 })
    })
    await new Promise<void>((settle) => {
      upstream.listen(0, '127.0.0.1', settle)
    })
    closers.push(async () => upstream.close())
    const address = upstream.address()
    const api = await serveApi({
      ollama: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
      tenant: { tokensPerDay: 1e9, requestsPerMinute: 1e9 },
    })
    closers.push(api.close)
    const ask = () =>
      fetch(`${api.url}/api/chat`, {
        method: 'POST',
        body: JSON.stringify({ model: 'tiny', stream: false, messages: asked }),
      })
    const many = async (): Promise<void> => {
      for (let round = 0; round < 60; round += 1)
        await Promise.all(Array.from({ length: 10 }, async () => (await ask()).text()))
      await api.records.flush()
    }
    await many()
    const before = heap()
    await many()
    // 600 requests; what is kept of one would be some kilobytes.
    expect((heap() - before) / 600).toBeLessThan(1_500)
  })

  it('retried, or had clients retry, what can’t help (appstrate #437)', async () => {
    const { ask, ollama } = await open(answered, { tenant: { tokensPerDay: 1 } })
    const refused = await ask('/v1/chat/completions')
    expect(refused.headers.get('x-should-retry')).toBe('false')
    expect(ollama.calls).toEqual([])
  })

  it('had no metrics of their own (appstrate #437, portkey #183, #360)', async () => {
    const { ask, records } = await open()
    await ask()
    await expect.poll(() => records.metrics.metrics()).toContain('gen_ai_client_token_usage')
  })
})
