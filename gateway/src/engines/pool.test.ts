import { afterEach, describe, expect, it } from 'vitest'
import { serveApi, type ServeOptions } from '#api/serve.fixture.ts'
import { deadUrl, json, ndjson, serve, serveOllama, type Call, type FakeOllama } from './upstream.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const says =
  (name: string) =>
  ({ response }: Call) =>
    json(response, 200, { message: { content: name }, done: true })

async function open(backends: readonly FakeOllama[], options: ServeOptions = {}) {
  const api = await serveApi({ ollama: backends.map(({ url }) => url), ...options })
  closers.push(...backends.map((one) => one.close), api.close)
  const ask = async (body: object, path = '/api/chat') => {
    const answer = await fetch(`${api.url}${path}`, {
      method: 'POST',
      body: JSON.stringify({ stream: false, ...body }),
    })
    return { status: answer.status, headers: answer.headers, text: await answer.text() }
  }
  return { ...api, ask }
}

const turn = (content: string) => [{ role: 'user', content }]

describe('several backends', () => {
  it('are one list of models, and each is asked for what it has', async () => {
    const { ask, url } = await open([
      await serveOllama(says('one'), { models: [{ name: 'a:latest' }, { name: 'both:latest' }] }),
      await serveOllama(says('two'), { models: [{ name: 'b:latest' }, { name: 'both:latest' }] }),
    ])
    const { models } = (await (await fetch(`${url}/api/tags`)).json()) as { models: { name: string }[] }
    expect(models.map(({ name }) => name)).toEqual(['a:latest', 'both:latest', 'b:latest'])
    expect((await ask({ model: 'a', messages: turn('x') })).text).toContain('one')
    expect((await ask({ model: 'b', messages: turn('x') })).text).toContain('two')
  })

  it('have aliases, listed as models, that mean one of theirs', async () => {
    const backend = await serveOllama(says('one'))
    const { ask, url } = await open([backend], { aliases: { 'gpt-4o': 'tiny' } })
    expect((await ask({ model: 'gpt-4o', messages: turn('x') }, '/v1/chat/completions')).status).toBe(200)
    expect(JSON.parse(backend.calls[0]?.body.toString() ?? '').model).toBe('tiny:latest')
    expect(await (await fetch(`${url}/v1/models`)).text()).toContain('gpt-4o')
  })

  it('stand in for one another before the first byte: one that is gone, busy or starting', async () => {
    const gone = await serveOllama(says('gone'))
    const busy = await serveOllama(({ response }) =>
      json(response, 503, { error: 'server busy, please try again.  maximum pending requests exceeded' }),
    )
    const { ask, rows } = await open([gone, busy, await serveOllama(says('third'))])
    await gone.close()
    for (let round = 0; round < 4; round += 1)
      expect(await ask({ model: 'tiny', messages: turn(`round ${round}`) })).toMatchObject({
        status: 200,
        text: expect.stringContaining('third'),
      })
    expect(await rows('audit')).toContainEqual(
      expect.objectContaining({ backend: 'backend2', refusal: null }),
    )
  })

  it('do not after it: what was begun and breaks off is told as such', async () => {
    const breaks = (call: Call) => {
      ndjson(call.response)({ message: { content: 'Once' }, done: false })
      setImmediate(() => call.response.destroy())
    }
    const other = await serveOllama(says('other'))
    const { ask } = await open([await serveOllama(breaks), other])
    const { text } = await ask({ model: 'tiny', messages: turn('x'), stream: true })
    expect(text).toContain('broke off')
    expect(other.calls).toEqual([])
  })

  it('keep a conversation where its cache is', async () => {
    const backends = [await serveOllama(says('one')), await serveOllama(says('two'))]
    const { ask } = await open(backends)
    const talk = (name: string, turns: number) =>
      ask({
        model: 'tiny',
        messages: [...turn(`I am ${name}.`), { role: 'assistant', content: 'Hi' }, ...turn(`turn ${turns}`)],
      })
    const where = new Map<string, Set<string>>()
    for (let turns = 0; turns < 4; turns += 1)
      await Promise.all(
        ['ada', 'bob', 'cyd', 'dee'].map(async (name) => {
          const { text } = await talk(name, turns)
          where.set(name, (where.get(name) ?? new Set()).add(text))
        }),
      )
    for (const places of where.values()) expect(places.size).toBe(1)
    expect(Math.min(...backends.map(({ calls }) => calls.length))).toBeGreaterThan(0)
  })

  it('say so, with a time to come again, where none answers', async () => {
    const { ask } = await open([], { ollama: [await deadUrl()] })
    const refused = await ask({ model: 'tiny', input: 'x' }, '/v1/embeddings')
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).toBe('5')
  })
})

describe('a line', () => {
  it('is told to who waits in it: as a comment of an event stream, which clients skip', async () => {
    const held = Promise.withResolvers<void>()
    const backend = await serveOllama(async ({ response }) => {
      await held.promise
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end('data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n')
    })
    const { url } = await open([backend], { parallel: 1 })
    const { OpenAI } = await import('openai')
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' })
    const ask = () =>
      client.chat.completions.create({
        model: 'tiny',
        messages: [{ role: 'user', content: 'x' }],
        stream: true,
      })
    const first = ask()
    await expect.poll(() => backend.calls.length).toBe(1)
    const body = JSON.stringify({ model: 'tiny', stream: true, messages: turn('x') })
    const waiting = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body })
    const reader = waiting.body!.getReader()
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe(
      ': waiting, place 1 in the line\n\n',
    )
    expect(waiting.headers.get('x-queue-position')).toBe('1')
    const second = ask()
    held.resolve()
    for (const stream of [await first, await second]) {
      const words: string[] = []
      for await (const chunk of stream) words.push(chunk.choices[0]?.delta.content ?? '')
      expect(words.join('')).toBe('Hi')
    }
    let rest = ''
    for (let part = await reader.read(); !part.done; part = await reader.read())
      rest += Buffer.from(part.value).toString()
    expect(rest).toContain('[DONE]')
  })

  it('is left by a client that leaves, and nothing of it comes to the engine', async () => {
    const held = Promise.withResolvers<void>()
    const backend = await serveOllama(async (call) => {
      await held.promise
      says('done')(call)
    })
    const { ask, url, rows } = await open([backend], { parallel: 1 })
    const first = ask({ model: 'tiny', messages: turn('first') })
    await expect.poll(() => backend.calls.length).toBe(1)
    const abort = new AbortController()
    const second = fetch(`${url}/api/chat`, {
      method: 'POST',
      signal: abort.signal,
      body: JSON.stringify({ model: 'tiny', messages: turn('second') }),
    })
    await new Promise((settle) => setTimeout(settle, 50))
    abort.abort()
    await expect(second).rejects.toThrow()
    await expect.poll(async () => (await rows('audit')).some(({ status }) => status === 499)).toBe(true)
    held.resolve()
    await first
    expect(backend.calls).toHaveLength(1)
  })
})

it('an OpenAI-compatible backend answers at /v1, and is not asked what only Ollama speaks', async () => {
  const backend = await serve(({ response, route }) =>
    route === 'GET /v1/models'
      ? json(response, 200, { data: [{ id: 'qwen' }] })
      : json(response, 200, {
          choices: [{ message: { content: 'Hi' } }],
          usage: { prompt_tokens: 4, completion_tokens: 2 },
        }),
  )
  closers.push(backend.close)
  const { ask, rows } = await open([], { ollama: [backend.url], kind: 'openai' })
  expect((await ask({ model: 'qwen', messages: turn('x') }, '/v1/chat/completions')).status).toBe(200)
  expect((await ask({ model: 'qwen', messages: turn('x') })).status).toBe(404)
  expect(await rows('usage')).toMatchObject([{ model: 'qwen', input_tokens: 4, output_tokens: 2 }])
})
