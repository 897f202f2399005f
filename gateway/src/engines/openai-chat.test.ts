import { afterEach, describe, expect, it } from 'vitest'
import { createBackend } from './backend.ts'
import type { ChatPiece, ChatWish } from './engine.ts'
import { createOllamaChat } from './ollama.ts'
import { createModelPool } from './pool.ts'
import { json, left, serve, type Call } from './upstream.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const wish: ChatWish = { model: 'gpt', messages: [{ role: 'user', content: 'Hello' }] }
const never = new AbortController().signal

/** llama.cpp, vLLM or another that speaks OpenAI's API alone. */
async function open(answer: (call: Call) => unknown) {
  const asked: unknown[] = []
  const upstream = await serve((call) => {
    if (call.route === 'GET /v1/models') return json(call.response, 200, { data: [{ id: 'gpt' }] })
    asked.push(JSON.parse(call.body.toString()))
    return answer(call)
  })
  closers.push(upstream.close)
  const backend = await createBackend(
    { name: 'vllm', url: upstream.url, kind: 'openai', parallel: 4 },
    () => {},
    60_000,
  )
  closers.push(backend.close)
  return { asked, engine: createOllamaChat(createModelPool([backend])) }
}

const events =
  (...chunks: readonly (object | string)[]) =>
  ({ response }: Call) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const one of chunks)
      response.write(`data: ${typeof one === 'string' ? one : JSON.stringify(one)}\n\n`)
    response.end()
  }
const delta = (given: object, finish_reason: string | null = null) => ({
  choices: [{ index: 0, delta: given, finish_reason }],
})

async function all(pieces: AsyncIterable<ChatPiece>): Promise<ChatPiece[]> {
  const read: ChatPiece[] = []
  for await (const piece of pieces) read.push(piece)
  return read
}

describe('an answer of an OpenAI-compatible server', () => {
  it('comes piece by piece, with what was thought apart, and what it took', async () => {
    const { asked, engine } = await open(
      events(
        delta({ role: 'assistant', content: null }),
        delta({ reasoning_content: 'Hm, ' }),
        delta({ reasoning: 'well.' }),
        delta({ content: 'Good ' }),
        delta({ content: 'day' }),
        delta({}, 'length'),
        { choices: [], usage: { prompt_tokens: 7, completion_tokens: 4 } },
        '[DONE]',
      ),
    )
    const usage: unknown[] = []
    expect(
      await all(engine.chat({ ...wish, output: 4, onUsage: (told) => usage.push(told) }, never)),
    ).toEqual([{ reasoning: 'Hm, ' }, { reasoning: 'well.' }, 'Good ', 'day'])
    expect(usage).toEqual([{ input: 7, output: 4, cut: true }])
    expect(asked).toEqual([{ ...wish, stream: true, stream_options: { include_usage: true }, max_tokens: 4 }])
  })

  it('is of functions and pictures, too', async () => {
    const { asked, engine } = await open(
      events(
        delta({ tool_calls: [{ index: 0, id: 'a', function: { name: 'look', arguments: '{"at"' } }] }),
        delta({ tool_calls: [{ index: 0, function: { arguments: ':"sky"}' } }] }),
        delta({}, 'tool_calls'),
        '[DONE]',
      ),
    )
    const pieces = await all(
      engine.chat(
        {
          ...wish,
          tools: [{ name: 'look', parameters: { type: 'object' } }],
          messages: [
            { role: 'user', content: 'See', images: ['/9j/aGk='] },
            { role: 'assistant', content: '', calls: [{ name: 'look', arguments: '{}' }] },
            { role: 'tool', content: 'blue', tool: 'look' },
          ],
        },
        never,
      ),
    )
    expect(pieces).toEqual([{ name: 'look', arguments: '{"at":"sky"}' }])
    expect(asked).toMatchObject([
      {
        tools: [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }],
        messages: [
          {
            content: [
              { type: 'text', text: 'See' },
              { type: 'image_url', image_url: { url: 'data:image/jpeg;base64,/9j/aGk=' } },
            ],
          },
          { role: 'assistant', tool_calls: [{ id: 'call_1', function: { name: 'look', arguments: '{}' } }] },
          { role: 'tool', content: 'blue', tool_call_id: 'call_1' },
        ],
      },
    ])
  })

  it('that breaks off, or is refused, is a failure', async () => {
    for (const [answer, message] of [
      [events(delta({ content: 'Half' })), /broke off/],
      [events(delta({ content: 'Half' }), { error: { message: 'out of memory' } }), /out of memory/],
      [events('{'), /not OpenAI’s protocol/],
      [({ response }: Call) => json(response, 400, { error: { message: 'too long' } }), /too long/],
    ] as const) {
      const { engine } = await open(answer)
      await expect(all(engine.chat(wish, never))).rejects.toThrow(message)
    }
  })

  it('ends the request when it is cancelled', async () => {
    const gone = Promise.withResolvers<void>()
    const { engine } = await open(({ response }) => {
      void left(response).then(gone.resolve)
      response.write(`data: ${JSON.stringify(delta({ content: 'Once ' }))}\n\n`)
    })
    const cancel = new AbortController()
    const pieces = engine.chat(wish, cancel.signal)[Symbol.asyncIterator]()
    await pieces.next()
    cancel.abort()
    await expect(pieces.next()).rejects.toThrow(/abort/i)
    await gone.promise
  })
})
