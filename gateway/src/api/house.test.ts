/** That no prompt leaves the house, that no one changes what others use, and that leaving ends the work. */
import { afterEach, describe, expect, it } from 'vitest'
import { json, left, serveOllama, type Call } from '#engines/upstream.fixture.ts'
import { serveApi, type ServeOptions } from './serve.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** @param shown what Ollama tells of a model, by its name */
async function open(
  answer: (call: Call) => unknown,
  options: ServeOptions = {},
  shown: Readonly<Record<string, object>> = {},
) {
  const ollama = await serveOllama(answer, { shown })
  const api = await serveApi({ ollama: ollama.url, ...options })
  closers.push(ollama.close, api.close)
  const ask = (path: string, body: object, init: RequestInit = {}) =>
    fetch(`${api.url}${path}`, { method: 'POST', body: JSON.stringify({ model: 'tiny', ...body }), ...init })
  return { ...api, ollama, ask }
}

const done = ({ response }: Call) => json(response, 200, { done: true })
const user = (content: unknown) => [{ role: 'user', content }]

describe('what would take a prompt out of the house is refused', () => {
  const away: Record<string, [string, object]> = {
    'a web search of Responses': ['/v1/responses', { input: 'x', tools: [{ type: 'web_search_preview' }] }],
    'a web search of Messages': [
      '/v1/messages',
      { max_tokens: 5, messages: user('x'), tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
    ],
    'a picture by its address': [
      '/v1/chat/completions',
      { messages: user([{ type: 'image_url', image_url: { url: 'http://169.254.169.254/x' } }]) },
    ],
    'a picture by its address, the shorter way': [
      '/v1/responses',
      { input: user([{ type: 'input_image', image_url: 'https://x.example/a.png' }]) },
    ],
    'a picture by its address, as Anthropic has it': [
      '/v1/messages',
      {
        max_tokens: 5,
        messages: user([{ type: 'image', source: { type: 'url', url: 'https://x.example/a.png' } }]),
      },
    ],
    'a file by its address': [
      '/v1/responses',
      { input: user([{ type: 'input_file', file_url: 'https://x.example/a.pdf' }]) },
    ],
  }
  for (const [what, [path, body]] of Object.entries(away))
    it(what, async () => {
      const { ask, ollama } = await open(done)
      const refused = await ask(path, body)
      expect([400, 403]).toContain(refused.status)
      expect(await refused.text()).toMatch(/this network|within the request/)
      expect(ollama.calls).toEqual([])
    })

  it('but a picture in the request goes through, and a tool of the client’s own', async () => {
    const { ask, ollama } = await open(done)
    const picture = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }
    const tools = [{ type: 'function', function: { name: 'web_search', parameters: {} } }]
    expect((await ask('/v1/chat/completions', { messages: user([picture]), tools })).status).toBe(200)
    expect(JSON.parse(ollama.calls[0]?.body.toString() ?? '')).toMatchObject({
      messages: user([picture]),
      tools,
    })
  })

  it('and so do addresses that a tool of the client’s own was called with', async () => {
    const { ask } = await open(done)
    const call = { function: { name: 'open', arguments: { page_url: 'https://x.example' } } }
    const native = [...user('x'), { role: 'assistant', content: '', tool_calls: [call] }]
    expect((await ask('/api/chat', { messages: native })).status).toBe(200)
    const use = { type: 'tool_use', id: 't', name: 'open', input: { page_url: 'https://x.example' } }
    const anthropic = [...user('x'), { role: 'assistant', content: [use] }]
    expect((await ask('/v1/messages', { max_tokens: 5, messages: anthropic })).status).toBe(200)
  })
})

describe('what others use is held within the admin’s limits', () => {
  const sent = async (body: object) => {
    const { ask, ollama } = await open(done)
    const { status } = await ask('/api/chat', { messages: user('x'), ...body })
    const call = ollama.calls[0]?.body.toString()
    return { status, keep: call && JSON.parse(call).keep_alive }
  }
  for (const [asked, kept] of [
    ['24h', '3600s'],
    [-1, '3600s'],
    ['-1m', '3600s'],
    [90, '90s'],
    ['1h30m', '3600s'],
    ['1m30s', '90s'],
    [0, undefined],
    ['0', undefined],
  ] as const)
    it(`a keep_alive of ${JSON.stringify(asked)} is ${kept ?? 'the engine’s own'}`, async () => {
      expect(await sent({ keep_alive: asked })).toEqual({ status: 200, keep: kept })
    })

  it('one that is none, and a context that is too large, are refused by name', async () => {
    const { ask } = await open(done)
    const refused = await ask('/api/chat', { messages: user('x'), keep_alive: 'for ever' })
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('keep_alive: ')])
    const large = await ask('/api/generate', { prompt: 'x', options: { num_ctx: 1_000_000 } })
    expect([large.status, await large.text()]).toEqual([
      400,
      expect.stringContaining('options.num_ctx: at most 32768'),
    ])
  })

  it('a model is loaded by who likes, and unloaded by nobody', async () => {
    const { ask } = await open(done)
    expect((await ask('/api/generate', {})).status).toBe(200)
    for (const [path, body] of [
      ['/api/generate', { keep_alive: 0 }],
      ['/api/generate', { prompt: '', keep_alive: '0s' }],
      ['/api/chat', { messages: [], keep_alive: 0 }],
    ] as const)
      expect((await ask(path, body)).status).toBe(403)
  })

  it('and what is shown of a model does not say where it lies', async () => {
    const told = {
      modelfile: 'FROM /root/.ollama/models/blobs/x',
      details: { parent_model: '/root/.ollama/models/blobs/y', family: 'llama' },
      capabilities: ['completion'],
    }
    const { ask } = await open(done, {}, { 'tiny:latest': told })
    const shown = await (await ask('/api/show', {})).text()
    expect(JSON.parse(shown)).toMatchObject({ capabilities: ['completion'], details: { family: 'llama' } })
    expect(shown).not.toContain('/root')
  })
})

// A full machine may take longer once; a gateway that does not end it does so each time.
describe('a client that leaves ends the work upstream within 50 ms', { retry: 2 }, () => {
  const paths: Record<string, object> = {
    '/api/chat': { messages: user('x') },
    '/api/generate': { prompt: 'x' },
    '/api/embed': { input: 'x' },
    '/chat/api/chat': { messages: user('x') },
    '/v1/chat/completions': { messages: user('x'), stream: true },
    '/v1/completions': { prompt: 'x' },
    '/v1/responses': { input: 'x', stream: true },
    '/v1/embeddings': { input: 'x' },
    '/v1/messages': { max_tokens: 5, messages: user('x'), stream: true },
  }
  for (const [path, body] of Object.entries(paths))
    for (const speaks of [false, true])
      it(`${path}, ${speaks ? 'after' : 'before'} its first byte`, async () => {
        const gone = Promise.withResolvers<number>()
        const { ask, ollama } = await open(({ response }) => {
          void left(response).then(() => gone.resolve(performance.now()))
          if (speaks) response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {}\n\n')
        })
        const abort = new AbortController()
        const answer = ask(path, body, { signal: abort.signal })
        if (speaks) await answer
        else await expect.poll(() => ollama.calls.length).toBe(1)
        const start = performance.now()
        abort.abort()
        if (!speaks) await expect(answer).rejects.toThrow()
        expect((await gone.promise) - start).toBeLessThan(50)
      })
})

describe('a stream that breaks off is an error in each dialect, never a quiet success', () => {
  const streams: Record<string, [body: object, first: string, error: RegExp]> = {
    '/v1/completions': [
      { prompt: 'x', stream: true },
      'data: {"choices":[{"text":"a"}]}\n\n',
      /^data: \{"error":/m,
    ],
    '/v1/responses': [
      { input: 'x', stream: true },
      'event: response.created\ndata: {"type":"response.created"}\n\n',
      /^event: error\ndata: \{"type":"error"/m,
    ],
    '/v1/messages': [
      { max_tokens: 5, messages: user('x'), stream: true },
      'event: message_start\ndata: {"type":"message_start"}\n\n',
      /^event: error\ndata: \{"type":"error","error":\{"type":"api_error"/m,
    ],
  }
  for (const [path, [body, first, error]] of Object.entries(streams))
    it(path, async () => {
      const { ask, rows } = await open(({ response }) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(first, () => response.end())
      })
      expect(await (await ask(path, body)).text()).toMatch(error)
      expect(await rows('audit')).toMatchObject([{ ended: 'cut', status: 200 }])
    })

  it('a body that has a length: the connection breaks as well', async () => {
    const { ask } = await open(({ response }) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 }).write('{"a":')
      setImmediate(() => response.destroy())
    })
    await expect(
      ask('/v1/chat/completions', { messages: user('x') }).then((answer) => answer.text()),
    ).rejects.toThrow()
  })
})

describe('usage is counted in every format', () => {
  const event = (body: object) => `data: ${JSON.stringify(body)}\n\n`
  const formats: Record<string, [path: string, body: object, type: string, answer: string]> = {
    'Ollama, streamed': [
      '/api/chat',
      { messages: user('x') },
      'application/x-ndjson',
      '{"message":{"content":"a"},"done":false}\n{"done":true,"prompt_eval_count":11,"eval_count":7}\n',
    ],
    'Ollama, whole': [
      '/api/generate',
      { prompt: 'x', stream: false },
      'application/json',
      '{"response":"a","done":true,"prompt_eval_count":11,"eval_count":7}',
    ],
    'OpenAI, whole': [
      '/v1/chat/completions',
      { messages: user('x') },
      'application/json',
      '{"object":"chat.completion","choices":[{"message":{"content":"\\"usage\\":{\\"prompt_tokens\\":99}"}}],"usage":{"prompt_tokens":11,"completion_tokens":7}}',
    ],
    'OpenAI, streamed, with noughts on each chunk': [
      '/v1/completions',
      { prompt: 'x', stream: true },
      'text/event-stream',
      `${event({ choices: [{ text: 'a' }], usage: { prompt_tokens: 0, completion_tokens: 0 } })}${event({ choices: [], usage: { prompt_tokens: 11, completion_tokens: 7 } })}data: [DONE]\n\n`,
    ],
    'Responses, streamed': [
      '/v1/responses',
      { input: 'x', stream: true },
      'text/event-stream',
      `event: response.completed\n${event({ type: 'response.completed', response: { usage: { input_tokens: 11, output_tokens: 7 } } })}`,
    ],
    'Responses, whole': [
      '/v1/responses',
      { input: 'x' },
      'application/json',
      '{"object":"response","usage":{"input_tokens":11,"output_tokens":7}}',
    ],
    'Anthropic, streamed': [
      '/v1/messages',
      { max_tokens: 50, messages: user('x'), stream: true },
      'text/event-stream',
      `event: message_start\n${event({ type: 'message_start', message: { usage: { input_tokens: 3 } } })}event: message_delta\n${event({ type: 'message_delta', usage: { input_tokens: 11, output_tokens: 7 } })}event: message_stop\n${event({ type: 'message_stop' })}`,
    ],
    'Anthropic, whole': [
      '/v1/messages',
      { max_tokens: 50, messages: user('x') },
      'application/json',
      '{"type":"message","usage":{"input_tokens":11,"output_tokens":7}}',
    ],
  }
  for (const [what, [path, body, type, answer]] of Object.entries(formats))
    for (const pieces of [1, 9])
      it(`${what}, in ${pieces} ${pieces === 1 ? 'piece' : 'pieces'}`, async () => {
        const { ask, rows } = await open(async ({ response }) => {
          response.writeHead(200, { 'content-type': type })
          const size = Math.ceil(answer.length / pieces)
          for (let at = 0; at < answer.length; at += size)
            await new Promise((next) =>
              response.write(answer.slice(at, at + size), () => setTimeout(next, 2)),
            )
          response.end()
        })
        await (await ask(path, body)).text()
        expect(await rows('audit')).toMatchObject([
          { input_tokens: 11, output_tokens: 7, counted: 'upstream', ended: 'whole' },
        ])
      })

  it('embeddings that are too large to be kept', async () => {
    const big = Array.from({ length: 400_000 }, () => 0.123456)
    const { ask, rows } = await open(({ response, route }) =>
      json(
        response,
        200,
        route.includes('/v1/')
          ? { data: [{ embedding: big }], usage: { prompt_tokens: 11, total_tokens: 11 } }
          : { embeddings: [big], prompt_eval_count: 11 },
      ),
    )
    await (await ask('/v1/embeddings', { input: 'x' })).arrayBuffer()
    await (await ask('/api/embed', { input: 'x' })).arrayBuffer()
    expect(await rows('audit')).toMatchObject([{ input_tokens: 11 }, { input_tokens: 11 }])
  })
})
