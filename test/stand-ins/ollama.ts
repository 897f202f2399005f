/**
 * Stands in for Ollama where the machine has none: its HTTP interface with its shapes and errors, and an
 * answer that is made of the prompt, so that a wrong prompt gives a wrong answer.
 * It is held to `recordings/ollama.json`, what the real one answered to the same calls.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { announcePort } from './announce.ts'

const model = 'stand-in:latest'

/** Long enough that a stream is seen to be one. */
const pauseMs = 15

interface Body {
  model?: string
  messages?: { role: string; content: string }[]
  prompt?: string
  stream?: boolean
  stream_options?: { include_usage?: boolean }
}

const server = createServer((request, response) => {
  void handle(request, response).catch(() => response.destroy())
})
announcePort(server)

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const route = `${request.method} ${request.url}`
  if (route === 'GET /api/version') return json(response, 200, { version: '0.24.0' })
  if (route === 'GET /api/tags') return json(response, 200, { models: [tag] })
  if (route === 'GET /v1/models')
    return json(response, 200, {
      object: 'list',
      data: [{ id: model, object: 'model', created: 1_763_640_000, owned_by: 'library' }],
    })
  if (['POST /api/chat', 'POST /api/generate', 'POST /v1/chat/completions'].includes(route))
    return infer(request, response)
  response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found')
}

const tag = {
  name: model,
  model,
  modified_at: '2026-11-20T12:00:00Z',
  size: 1_048_576,
  digest: 'f'.repeat(64),
  details: {
    parent_model: '',
    format: 'gguf',
    family: 'llama',
    families: ['llama'],
    parameter_size: '1M',
    quantization_level: 'F16',
  },
}

async function infer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const openai = request.url?.startsWith('/v1') ?? false
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  const body: Body = JSON.parse(Buffer.concat(chunks).toString())
  const known = body.model === model || body.model === 'stand-in'
  if (!known) return refuse(response, openai, `model '${body.model}' not found`)
  const said = body.messages?.findLast(({ role }) => role === 'user')?.content ?? body.prompt ?? ''
  // An empty prompt loads the model, and that is told whole.
  const words =
    said === '' ? [] : (`You said: ${said}. That is ${said.split(' ').length} words.`.match(/\S+\s*/g) ?? [])
  if (said === '') body.stream = false
  const write = openai
    ? openAiWriter(response, body)
    : nativeWriter(response, request.url === '/api/chat', body)
  for (const word of words) {
    if (response.destroyed) return
    write.piece(word)
    await pause(pauseMs)
  }
  write.end(words.join(''), words.length)
}

interface Writer {
  piece(word: string): void
  end(text: string, count: number): void
}

function nativeWriter(response: ServerResponse, chat: boolean, { stream = true }: Body): Writer {
  const line = (text: string, rest: object) => ({
    model,
    created_at: new Date().toISOString(),
    ...(chat ? { message: { role: 'assistant', content: text } } : { response: text }),
    ...rest,
  })
  const last = (count: number) => ({
    done: true,
    done_reason: count === 0 ? 'load' : 'stop',
    ...(count > 0 && !chat && { context: [1, 2, 3] }),
    ...(count > 0 && {
      total_duration: 9e6,
      load_duration: 1e6,
      prompt_eval_count: count,
      prompt_eval_duration: 2e6,
      eval_count: count,
      eval_duration: 6e6,
    }),
  })
  if (stream) response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  return {
    piece: (word) => stream && response.write(`${JSON.stringify(line(word, { done: false }))}\n`),
    end: (text, count) =>
      stream
        ? response.end(`${JSON.stringify(line('', last(count)))}\n`)
        : json(response, 200, line(text, last(count))),
  }
}

function openAiWriter(response: ServerResponse, { stream = false, stream_options: options }: Body): Writer {
  const base = { id: 'chatcmpl-7', created: 1_763_640_000, model, system_fingerprint: 'fp_ollama' }
  const usage = (count: number) => ({
    prompt_tokens: count,
    completion_tokens: count,
    total_tokens: 2 * count,
  })
  const chunk = (choices: object[], rest = {}) =>
    response.write(
      `data: ${JSON.stringify({ ...base, object: 'chat.completion.chunk', choices, ...rest })}\n\n`,
    )
  if (stream) response.writeHead(200, { 'content-type': 'text/event-stream' })
  return {
    piece: (content) =>
      stream && chunk([{ index: 0, delta: { role: 'assistant', content }, finish_reason: null }]),
    end(content, count) {
      if (!stream)
        return json(response, 200, {
          ...base,
          object: 'chat.completion',
          choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
          usage: usage(count),
        })
      chunk([{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: 'stop' }])
      if (options?.include_usage) chunk([], { usage: usage(count) })
      response.end('data: [DONE]\n\n')
    },
  }
}

function refuse(response: ServerResponse, openai: boolean, message: string): void {
  json(response, 404, {
    error: openai ? { message, type: 'not_found_error', param: null, code: null } : message,
  })
}

function json(response: ServerResponse, status: number, body: object): void {
  // Gin names the character set, Ollama's OpenAI layer does not.
  const type = response.req.url?.startsWith('/v1') ? 'application/json' : 'application/json; charset=utf-8'
  response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body))
}
