/** What must never reach Ollama, however it is written. */
import { request } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { json, ndjson, serveOllama, type Call } from '#engines/upstream.fixture.ts'
import { serveApi } from './serve.fixture.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const models = [
  { name: 'tiny:latest' },
  { name: 'alias:latest', remote_host: 'https://ollama.com:443' },
  { name: 'gpt-oss:20b-cloud' },
]

async function open(answer: (call: Call) => unknown = ({ response }) => json(response, 200, { done: true })) {
  const ollama = await serveOllama(answer, { models })
  const { url, close } = await serveApi({ ollama: ollama.url })
  closers.push(ollama.close, close)
  return { url, ollama }
}

const post = (url: string, body: string) => fetch(url, { method: 'POST', body })
const paths = ['/api/chat', '/api/generate', '/v1/chat/completions']

describe('a prompt stays on this network', () => {
  const away: Record<string, string> = {
    'an alias of a model that runs elsewhere': 'alias',
    'such an alias with its tag': 'alias:latest',
    'a model that is not there': 'other',
    'the suffix after a space': 'gpt-oss: cloud',
    'the suffix before a space that only Go trims': 'tiny:cloud\u0085',
    'a suffix for “local” around one for “cloud”': 'gpt-oss:20b-cloud:local',
  }
  for (const [what, model] of Object.entries(away))
    it(`with ${what}`, async () => {
      const { url, ollama } = await open()
      for (const path of paths) {
        const { status } = await post(`${url}${path}`, JSON.stringify({ model, messages: [], prompt: '' }))
        expect([403, 404], path).toContain(status)
      }
      expect(ollama.calls).toEqual([])
    })

  it('and a model of its own is asked, by either of its names', async () => {
    const { url, ollama } = await open()
    for (const model of ['tiny', 'tiny:latest'])
      expect((await post(`${url}/api/chat`, JSON.stringify({ model, messages: [] }))).status).toBe(200)
    expect(ollama.calls).toHaveLength(2)
  })

  for (const key of ['Model', 'Stream', 'MESSAGES', 'meſſages', '\u212Aeep_alive', 'Max_Tokens'])
    it(`and ${key}, which Go would read, is refused`, async () => {
      const { url, ollama } = await open()
      for (const path of paths)
        expect((await post(`${url}${path}`, JSON.stringify({ model: 'tiny', [key]: 'x' }))).status).toBe(400)
      expect(ollama.calls).toEqual([])
    })

  it('and so do the headers of who asked', async () => {
    const { url, ollama } = await open()
    const headers = {
      authorization: 'Bearer secret',
      cookie: 'a=b',
      referer: 'https://x.example',
      'x-mine': '1',
    }
    await fetch(`${url}/api/chat`, { method: 'POST', headers, body: '{"model":"tiny"}' })
    expect(Object.keys(ollama.calls[0]?.request.headers ?? {}).sort()).toEqual([
      'accept',
      'connection',
      'content-length',
      'content-type',
      'host',
    ])
    expect(ollama.calls[0]?.request.headers.host).toBe(new URL(ollama.url).host)
  })
})

it('a body that turns out too large is refused in words, not by a cut connection', async () => {
  const { url } = await open()
  const piece = Buffer.alloc(1024 * 1024, 32)
  const answer = await new Promise<{ status: number | undefined; body: string }>((settle, fail) => {
    // No length is said beforehand, so the gateway only learns of it as it comes.
    const sent = request(`${url}/api/chat`, { method: 'POST' }, async (response) => {
      let body = ''
      for await (const chunk of response) body += String(chunk)
      settle({ status: response.statusCode, body })
    })
    sent.once('error', fail)
    for (let at = 0; at < 96; at += 1) sent.write(piece)
    sent.end()
  })
  expect(answer).toEqual({ status: 413, body: '{"error":"The body is larger than 32 MiB."}' })
})

describe('a stream that is cut', () => {
  const tool =
    '{"message":{"tool_calls":[{"function":{"arguments":{"done":true,"error":1}}}]},"done":false}\n'
  const doc = 'data: {"choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n'
  const cuts: Record<string, [string, string]> = {
    'in the middle of a line': ['/api/chat', '{"message":{"content":"ha'],
    'after a tool’s arguments that look like an end': ['/api/chat', tool],
    'in the middle of an event': ['/v1/chat/completions', 'data: {"choices":[{"delta":{"content":"ha'],
    'between an event’s line and its end': ['/v1/chat/completions', 'data: {"choices":[]}\n'],
    'after words that look like an end': ['/v1/chat/completions', doc],
  }
  for (const [where, [path, text]] of Object.entries(cuts))
    for (const how of ['cut', 'ended'] as const)
      it(`${where} tells its client so: ${how}`, async () => {
        const { url } = await open(({ response }) => {
          response.writeHead(200, {
            'content-type': path === '/api/chat' ? 'application/x-ndjson' : 'text/event-stream',
          })
          response.write(text, () => (how === 'cut' ? response.destroy() : response.end()))
        })
        const got = await (await post(`${url}${path}`, '{"model":"tiny","stream":true}')).text()
        const last =
          path === '/api/chat' ? got.trim().split('\n').at(-1) : got.trim().split('\n\n').at(-1)?.slice(6)
        // Whole events go on; half a one would hide the error that follows it.
        expect(got.startsWith(text)).toBe(text.endsWith(path === '/api/chat' ? '\n' : '\n\n'))
        expect(JSON.parse(last ?? '')).toMatchObject({ error: expect.anything() })
      })

  it('after its last line is whole', async () => {
    const { url } = await open(({ response }) => {
      ndjson(response)({ done: true, context: Array.from({ length: 50_000 }, (_, at) => at) })
      setImmediate(() => response.destroy())
    })
    const got = await (await post(`${url}/api/chat`, '{"model":"tiny"}')).text()
    expect(got.trim().split('\n')).toHaveLength(1)
  })
})
