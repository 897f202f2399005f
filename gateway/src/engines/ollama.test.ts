import { afterEach, describe, expect, it } from 'vitest'
import { createBackend, isLocal } from './backend.ts'
import type { ChatPiece, ChatWish } from './engine.ts'
import { createOllamaChat } from './ollama.ts'
import { createModelPool } from './pool.ts'
import { deadUrl, json, left, ndjson, serve, serveOllama, type Call } from './upstream.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const wish: ChatWish = { model: 'tiny:latest', messages: [{ role: 'user', content: 'Hello' }] }
const never = new AbortController().signal

async function open(answer: (call: Call) => unknown, shown: Readonly<Record<string, object>> = {}) {
  const upstream = await serveOllama(answer, { shown })
  closers.push(upstream.close)
  const backend = await look(upstream.url)
  return { upstream, backend, ollama: createOllamaChat(createModelPool([backend])) }
}

/** A backend after its first look, and no other look soon. */
async function look(url: string) {
  const backend = await createBackend({ name: 'ollama', url, kind: 'ollama', parallel: 4 }, () => {}, 60_000)
  closers.push(backend.close)
  return backend
}

async function all(pieces: AsyncIterable<ChatPiece>): Promise<ChatPiece[]> {
  const read: ChatPiece[] = []
  for await (const piece of pieces) read.push(piece)
  return read
}

const said = (content: string) => ({ message: { role: 'assistant', content }, done: false })

describe('an answer from Ollama', () => {
  it('comes piece by piece, while Ollama still writes', async () => {
    let end = (): void => {}
    const { ollama, upstream } = await open(({ response }) => {
      const line = ndjson(response)
      line(said('Good '))
      end = () => {
        line(said('day'))
        line({ done: true })
        response.end()
      }
    })
    const pieces = ollama.chat(wish, never)[Symbol.asyncIterator]()
    expect(await pieces.next()).toEqual({ done: false, value: 'Good ' })
    end()
    expect(await pieces.next()).toEqual({ done: false, value: 'day' })
    expect(await pieces.next()).toEqual({ done: true, value: undefined })
    expect(JSON.parse(upstream.calls[0]?.body.toString() ?? '')).toEqual({ ...wish, stream: true })
  })

  it('has what the model thinks apart, and tells one that can whether to', async () => {
    const answer = ({ response }: Call) => {
      const line = ndjson(response)
      line({ message: { role: 'assistant', content: '', thinking: 'Hm, ' }, done: false })
      line(said('Yes.'))
      line({ done: true })
      response.end()
    }
    const bodies: object[] = []
    for (const shown of [
      { capabilities: ['completion', 'thinking'] },
      { capabilities: ['thinking'], thinking: { values: ['low', 'medium', 'high'] } },
      { capabilities: ['thinking'], thinking: { values: [true] } },
      { capabilities: ['completion'] },
    ]) {
      const { upstream, ollama, backend } = await open(answer, { 'tiny:latest': shown })
      const [model = { name: '' }] = backend.models
      await expect.poll(() => backend.detailsOf(model)).toBeDefined()
      expect(await all(ollama.chat({ ...wish, think: false }, never))).toEqual([
        { reasoning: 'Hm, ' },
        'Yes.',
      ])
      bodies.push(JSON.parse(upstream.calls[0]?.body.toString() ?? ''))
    }
    expect(bodies).toEqual([
      { ...wish, stream: true, think: false },
      { ...wish, stream: true, think: 'low' },
      { ...wish, stream: true },
      { ...wish, stream: true },
    ])
  })

  it('is whole where lines and characters are cut by the network', async () => {
    const bytes = Buffer.from(`${JSON.stringify(said('Grüße 🌙'))}\n${JSON.stringify({ done: true })}\n`)
    const { ollama } = await open(async ({ response }) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      for (const byte of bytes) await new Promise((next) => response.write(Uint8Array.of(byte), next))
      response.end()
    })
    expect(await all(ollama.chat(wish, never))).toEqual(['Grüße 🌙'])
  })

  it('ends the request at Ollama when it is cancelled', async () => {
    const gone = Promise.withResolvers<void>()
    const { ollama } = await open(({ response }) => {
      void left(response).then(gone.resolve)
      ndjson(response)(said('Once '))
    })
    const cancel = new AbortController()
    const pieces = ollama.chat(wish, cancel.signal)[Symbol.asyncIterator]()
    await pieces.next()
    cancel.abort()
    await expect(pieces.next()).rejects.toThrow(/abort/i)
    await gone.promise
  })

  const broken: Record<string, (call: Call) => unknown> = {
    'ends without its last line': ({ response }) => {
      ndjson(response)(said('Half'))
      response.end()
    },
    'loses its connection': ({ response }) => {
      ndjson(response)(said('Half'))
      setImmediate(() => response.destroy())
    },
    'says that it failed': ({ response }) => {
      const line = ndjson(response)
      line(said('Half'))
      line({ error: 'out of memory' })
      response.end()
    },
    'sends what is no JSON': ({ response }) => {
      response.writeHead(200).end('<html>')
    },
  }
  for (const [how, answer] of Object.entries(broken))
    it(`is never a quiet success: it fails where Ollama ${how}`, async () => {
      const { ollama } = await open(answer)
      await expect(all(ollama.chat(wish, never))).rejects.toMatchObject({
        name: 'Failure',
        code: 'bad_upstream',
      })
    })

  const refusals = { 400: 'invalid', 404: 'not_found', 503: 'busy', 500: 'bad_upstream' } as const
  for (const [status, code] of Object.entries(refusals))
    it(`fails as ${code}, with Ollama's own words, at its status ${status}`, async () => {
      const { ollama } = await open(({ response }) => json(response, Number(status), { error: 'so it is' }))
      await expect(all(ollama.chat(wish, never))).rejects.toMatchObject({ code, message: 'so it is' })
    })

  it('says nothing of where its engine is, though Ollama does', async () => {
    const words =
      'post predict: Post "http://127.0.0.1:39271/completion": EOF; see localhost:1 and tcp://10.0.0.7'
    const { ollama } = await open(({ response }) => json(response, 500, { error: words }))
    const failure: unknown = await all(ollama.chat(wish, never)).catch((error: unknown) => error)
    expect(String(failure)).toContain('post predict')
    expect(String(failure)).not.toMatch(/\d+\.\d+\.\d+|localhost|39271/)
  })

  it('fails as unavailable, without an address, where it went away', async () => {
    const { ollama, upstream } = await open(() => {})
    await upstream.close()
    const failure: unknown = await all(ollama.chat(wish, never)).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'unavailable' })
    expect(String(failure)).not.toContain(String(upstream.port))
  })
})

describe('a look for Ollama', () => {
  it('finds its models, and none that run elsewhere', async () => {
    const upstream = await serveOllama(undefined, {
      models: [
        { name: 'tiny:latest', size: 7 },
        { name: 'alias:latest', remote_host: 'https://ollama.com:443' },
        { name: 'gpt-oss:120b-cloud' },
      ],
    })
    closers.push(upstream.close)
    expect(await look(upstream.url)).toMatchObject({
      state: { status: 'up' },
      version: '0.33.0',
      models: [{ name: 'tiny:latest', size: 7 }],
    })
  })

  it('tells another program, a busy Ollama and no program apart', async () => {
    const other = await serve(({ response }) => response.end('hello'))
    const busy = await serve(({ response }) => json(response, 503, { error: 'server busy' }))
    closers.push(other.close, busy.close)
    const failure = async (url: string) => {
      const { state } = await look(url)
      return state.status === 'down' ? state.failure?.code : 'up'
    }
    expect(await failure(other.url)).toBe('bad_upstream')
    expect(await failure(busy.url)).toBe('busy')
    expect(await failure(await deadUrl())).toBeUndefined()
  })
})

describe('warming', () => {
  it('loads a model once, however many sessions ask for it meanwhile', async () => {
    const held = Promise.withResolvers<void>()
    const loads: string[] = []
    const upstream = await serve(async ({ response, route, body }) => {
      if (route === 'GET /api/version') return json(response, 200, { version: '1' })
      if (route === 'GET /api/tags')
        return json(response, 200, { models: [{ name: 'tiny' }, { name: 'other' }] })
      if (route !== 'POST /api/generate') return json(response, 404, {})
      loads.push(body.toString())
      await held.promise
      json(response, 200, { done: true })
    })
    closers.push(upstream.close)
    const ollama = createOllamaChat(createModelPool([await look(upstream.url)]))
    const warmed = Promise.all([ollama.warm('tiny'), ollama.warm('tiny'), ollama.warm('other')])
    await expect.poll(() => loads.length).toBe(2)
    held.resolve()
    await warmed
    expect(loads).toEqual(['{"model":"tiny"}', '{"model":"other"}'])
    await ollama.warm('tiny')
    expect(loads).toHaveLength(3)
  })

  it('never throws, since the first answer then only comes later', async () => {
    const ollama = createOllamaChat(createModelPool([await look(await deadUrl())]))
    await expect(ollama.warm('tiny')).resolves.toBeUndefined()
  })
})

describe('a name that sends its prompt away', () => {
  // Ollama trims what is around the tag (internal/modelref); Go's white space has U+0085, too.
  const away = [
    'gpt-oss:cloud',
    'gpt-oss:20b-cloud',
    'GPT-OSS:Cloud',
    ' x:cloud ',
    'x: cloud',
    'x:cloud\u0085',
  ]
  for (const name of away)
    it(`is seen in ${JSON.stringify(name)}`, () => {
      expect(isLocal({ name })).toBe(false)
    })
  for (const name of ['tiny', 'tiny:latest', 'cloudy:7b', 'cloud:latest', 'x:local'])
    it(`is not seen in ${JSON.stringify(name)}`, () => {
      expect(isLocal({ name })).toBe(true)
    })
})
