import { afterEach, describe, expect, it } from 'vitest'
import { fakeUpstream, speakOllama, type FakeUpstream, type Speak } from '#engines/fake-upstream.fixture.ts'
import { serveApi as serve } from './serve.fixture.ts'

const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** The API in front of an upstream or of the demo. */
async function serveApi(
  speak?: Speak,
): Promise<{ readonly url: string; readonly ollama: FakeUpstream | undefined }> {
  const ollama =
    speak &&
    (await fakeUpstream((path, response, body) => speakOllama(path, response) || speak(path, response, body)))
  if (ollama) closers.push(ollama.close)
  const { url, close } = await serve(ollama ? { ollama: ollama.url } : {})
  closers.push(close)
  return { url, ollama }
}

const post = (url: string, body: unknown, init: RequestInit = {}) =>
  fetch(url, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), ...init })
const ask = { model: 'tiny', messages: [{ role: 'user', content: 'hello' }] }

describe('with Ollama', () => {
  it('passes the first piece on before the last one is there', async () => {
    const { promise: seen, resolve: see } = Promise.withResolvers<void>()
    const { url } = await serveApi((_path, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      response.write('{"message":{"content":"a"},"done":false}\n')
      void seen.then(() => response.end('{"message":{"content":""},"done":true}\n'))
    })
    const answer = await post(`${url}/api/chat`, ask)
    expect(answer.headers.get('content-type')).toBe('application/x-ndjson')
    const reader = answer.body!.getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toContain('"a"')
    see()
    expect(new TextDecoder().decode((await reader.read()).value)).toContain('"done":true')
  })

  it('passes refusals on as Ollama wrote them', async () => {
    const { url } = await serveApi((_path, response) => {
      response
        .writeHead(404, { 'content-type': 'application/json' })
        .end(`{"error":"model 'tiny' not found"}`)
    })
    const answer = await post(`${url}/api/chat`, ask)
    expect([answer.status, await answer.json()]).toEqual([404, { error: "model 'tiny' not found" }])
  })

  it('ends the request upstream when the client leaves, before and after the first byte', async () => {
    for (const speaks of [false, true]) {
      const { url, ollama } = await serveApi((_path, response) => {
        if (speaks)
          response.writeHead(200, { 'content-type': 'application/x-ndjson' }).write('{"done":false}\n')
      })
      const abort = new AbortController()
      const answer = post(`${url}/api/chat`, ask, { signal: abort.signal }).then((begun) => begun.text())
      await expect.poll(() => ollama?.seen.some(({ path }) => path === '/api/chat')).toBe(true)
      abort.abort()
      await expect(answer).rejects.toThrow()
      await ollama?.left
    }
  })

  for (const [what, path, type, first, broken] of [
    [
      'a native stream',
      '/api/chat',
      'application/x-ndjson',
      '{"message":{"content":"done: true"},"done":false}\n',
      '\n{"error":',
    ],
    [
      'an OpenAI stream',
      '/v1/chat/completions',
      'text/event-stream',
      'data: {"choices":[]}\n\n',
      '\n\ndata: {"error":',
    ],
  ] as const)
    for (const how of ['ended', 'cut'] as const)
      it(`tells in ${what} that it was ${how} before its time`, async () => {
        const { url } = await serveApi((_path, response) => {
          response.writeHead(200, { 'content-type': type })
          response.write(first, () => (how === 'ended' ? response.end() : response.destroy()))
        })
        const text = await (await post(`${url}${path}`, { ...ask, stream: true })).text()
        expect(text.startsWith(first)).toBe(true)
        expect(text).toContain(broken)
        expect(text).not.toContain('[DONE]')
      })

  it('leaves a whole stream as it is, whatever its borders', async () => {
    const { url } = await serveApi((_path, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: {"choices":[]}\n\ndata: [DO', () => setImmediate(() => response.end('NE]\n\n')))
    })
    expect(await (await post(`${url}/v1/chat/completions`, ask)).text()).toBe(
      'data: {"choices":[]}\n\ndata: [DONE]\n\n',
    )
  })

  it('sends upstream what it checked, written anew', async () => {
    const { url, ollama } = await serveApi((_path, response) => {
      response.end('{}')
    })
    await post(
      `${url}/v1/chat/completions`,
      '{"model":"big:cloud", "model":"tiny","messages":[],"max_completion_tokens":7}',
    )
    expect(ollama?.seen.at(-1)).toEqual({
      path: '/v1/chat/completions',
      body: '{"model":"tiny","messages":[],"max_tokens":7}',
    })
  })

  for (const [what, body, status] of [
    ['a model whose name is smuggled in another case', '{"model":"tiny","MODEL":"big:cloud"}', 400],
    ['a cloud model', '{"model":"big:cloud"}', 403],
    ['a cloud model by its other suffix', '{"model":"gpt-oss:120b-Cloud"}', 403],
    ['no model', '{}', 400],
    ['a list', '[]', 400],
    ['half a body', '{"model":', 400],
    ['nothing', '', 400],
  ] as const)
    it(`refuses ${what}, in the words of each dialect`, async () => {
      const { url, ollama } = await serveApi((_path, response) => {
        response.end('{}')
      })
      const native = await post(`${url}/api/chat`, body)
      expect([native.status, await native.json()]).toEqual([status, { error: expect.any(String) }])
      const openai = await post(`${url}/v1/chat/completions`, body)
      expect([openai.status, await openai.json()]).toEqual([
        status,
        {
          error: {
            message: expect.any(String),
            type: 'invalid_request_error',
            param: expect.toBeOneOf([null, 'model', 'MODEL']),
            code: expect.any(String),
          },
        },
      ])
      expect(ollama?.seen.map(({ path }) => path)).toEqual(['/api/version', '/api/tags', '/api/ps'])
    })

  it('refuses a body that is encoded, or too large to be a conversation', async () => {
    const { url } = await serveApi((_path, response) => {
      response.end('{}')
    })
    expect((await post(`${url}/api/chat`, ask, { headers: { 'content-encoding': 'zstd' } })).status).toBe(400)
    const large = await post(`${url}/api/chat`, { ...ask, padding: 'x'.repeat(33 * 1024 * 1024) })
    expect([large.status, await large.json()]).toEqual([413, { error: 'The body is larger than 32 MiB.' }])
  })

  for (const path of [
    'pull',
    'push',
    'create',
    'copy',
    'delete',
    'blobs/sha256:0',
    'me',
    'signout',
    'user/keys/x',
    'experimental/web_search',
    'PULL',
    'pull/',
  ])
    it(`refuses /api/${path} by every method`, async () => {
      const { url, ollama } = await serveApi((_path, response) => {
        response.end('{}')
      })
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'HEAD'])
        expect((await fetch(`${url}/api/${path}`, { method })).status, method).toBe(403)
      expect(ollama?.seen).toHaveLength(3)
    })

  it('lists the local models alone, natively and as OpenAI', async () => {
    const { url } = await serveApi(() => {})
    expect(await (await fetch(`${url}/api/tags`)).json()).toEqual({
      models: [{ name: 'tiny:latest', size: 5 }],
    })
    const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] }
    expect(data.map(({ id }) => id)).toEqual(['tiny:latest'])
    expect((await fetch(`${url}/v1/models/tiny:latest`)).status).toBe(200)
    expect((await fetch(`${url}/v1/models/big:cloud`)).status).toBe(404)
  })

  it('says what is served where something else is asked for', async () => {
    const { url } = await serveApi(() => {})
    const openai = await fetch(`${url}/v1/assistants`)
    expect([openai.status, await openai.json()]).toMatchObject([
      404,
      { error: { message: expect.stringContaining('/v1/models') } },
    ])
    expect((await fetch(`${url}/api/show`)).status).toBe(405)
    expect((await fetch(`${url}/api/nothing`)).status).toBe(404)
  })
})

describe('without Ollama', () => {
  it('the demo answers in both dialects, streamed and not, labelled in each', async () => {
    const { url } = await serveApi()
    const label = '[Demo] No Ollama'
    const native = (await (await post(`${url}/api/chat`, { ...ask, stream: false })).json()) as {
      message: { content: string }
      done: boolean
    }
    expect(native).toMatchObject({
      done: true,
      message: { role: 'assistant', content: expect.stringContaining(label) },
    })
    const lines = (await (await post(`${url}/api/chat`, ask)).text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.map(({ message }) => message.content).join('')).toBe(native.message.content)
    expect(lines.map(({ done }) => done).filter(Boolean)).toEqual([true])
    const generated = await (
      await post(`${url}/api/generate`, { model: 'x', prompt: 'hello', stream: false })
    ).json()
    expect(generated).toMatchObject({ response: native.message.content, done: true })
    const openai = await (await post(`${url}/v1/chat/completions`, ask)).json()
    expect(openai).toMatchObject({
      object: 'chat.completion',
      choices: [{ message: { content: native.message.content } }],
    })
    const events = (await (await post(`${url}/v1/chat/completions`, { ...ask, stream: true })).text())
      .trim()
      .split('\n\n')
    expect(events.at(-1)).toBe('data: [DONE]')
    const pieces = events
      .slice(0, -1)
      .map((event) => JSON.parse(event.slice(6)).choices[0].delta.content ?? '')
    expect(pieces.join('')).toBe(native.message.content)
  })

  it('health says that it is degraded, and why', async () => {
    const { url } = await serveApi()
    expect(await (await fetch(`${url}/healthz`)).text()).toBe('ok')
    expect(await (await fetch(`${url}/health`)).json()).toMatchObject({
      status: 'degraded',
      engines: { chat: { kind: 'demo' } },
    })
  })
})
