/**
 * Stands in for Ollama where the machine has none: its HTTP interface with its shapes and errors, and an
 * answer that is made of the prompt, so that a wrong prompt gives a wrong answer.
 * It is held to `recordings/ollama.json`, what the real one answered to the same calls.
 *
 * What it is started with besides are further models; those that begin with `thinker` think first, and see nothing.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { announcePort } from './announce.ts'
import { dialects, json, type Body, type Reply, type Schema, type Wish } from './ollama-dialects.ts'

const model = 'stand-in:latest'

/** Long enough that a stream is seen to be one. */
const pauseMs = 15

const details = {
  parent_model: '',
  format: 'gguf',
  family: 'llama',
  families: ['llama'],
  parameter_size: '1M',
  quantization_level: 'F16',
}
const thinks = (name: string): boolean => name.startsWith('thinker')
const tagOf = (name: string) => ({
  name,
  model: name,
  modified_at: '2026-11-20T12:00:00Z',
  size: 1_048_576,
  digest: (thinks(name) ? 'e' : 'f').repeat(64),
  details,
})
const { modified_at: _, ...unmodified } = tagOf(model)
const loaded = { ...unmodified, expires_at: '2026-11-20T12:05:00Z', size_vram: 0, context_length: 2048 }
const shownOf = (name: string) => ({
  modelfile: `FROM ${name}`,
  parameters: 'temperature 0',
  template: '{{ .Prompt }}',
  details,
  model_info: {
    'general.architecture': 'llama',
    'general.file_type': 1,
    'general.parameter_count': 1_000_000,
    'llama.attention.head_count': 4,
    'llama.attention.head_count_kv': 4,
    'llama.attention.layer_norm_rms_epsilon': 0.00001,
    'llama.block_count': 2,
    'llama.context_length': 2048,
    'llama.embedding_length': 64,
    'llama.feed_forward_length': 128,
    'llama.rope.dimension_count': 16,
    'llama.vocab_size': 357,
    'tokenizer.ggml.bos_token_id': 1,
    'tokenizer.ggml.eos_token_id': 2,
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.scores': null,
    'tokenizer.ggml.token_type': null,
    'tokenizer.ggml.tokens': null,
    'tokenizer.ggml.unknown_token_id': 0,
  },
  tensors: [{ name: 'token_embd.weight', type: 'F16', shape: [64, 357] }],
  capabilities: thinks(name) ? ['completion', 'thinking'] : ['completion', 'tools', 'vision'],
  modified_at: '2026-11-20T12:00:00Z',
})

const server = createServer((request, response) => {
  void handle(request, response).catch(() => response.destroy())
})
const models = [model, ...announcePort(server)]

const told: Readonly<Record<string, object>> = {
  'GET /api/version': { version: '0.24.0' },
  'GET /api/tags': { models: models.map(tagOf) },
  'GET /api/ps': { models: [loaded] },
  'GET /v1/models': {
    object: 'list',
    data: models.map((id) => ({ id, object: 'model', created: 1_763_640_000, owned_by: 'library' })),
  },
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const route = `${request.method} ${request.url}`
  const known = told[route]
  if (known) return json(response, 200, known)
  const path = request.method === 'POST' ? (request.url ?? '') : ''
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  const dialect = dialects[path]
  if (!dialect && !(path in vectors) && path !== '/api/show') {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found')
    return
  }
  const body: Body = JSON.parse(Buffer.concat(chunks).toString())
  const name = models.find((one) => one === body.model || one === `${body.model}:latest`)
  if (name === undefined) return unknown(response, path, body.model)
  if (path === '/api/show') return json(response, 200, shownOf(name))
  const vector = vectors[path]
  if (vector)
    return json(
      response,
      200,
      vector([body.input ?? body.prompt ?? ''].flat().filter((one) => typeof one === 'string')),
    )
  if (!dialect) return
  if (body.messages !== undefined && !Array.isArray(body.messages))
    return refuse(response, path, 400, 'json: cannot unmarshal string into Go struct field .messages')
  const wish = dialect.read(body)
  const reply = { ...answer(wish), thoughts: thinks(name) && wish.thinks ? thoughtsOn(wish) : [] }
  // An empty prompt loads the model, and that is told whole.
  const writer = dialect.write(response, wish.said === '' ? { ...body, stream: false } : body, name)
  for (const word of reply.thoughts) {
    if (response.destroyed) return
    writer.thought?.(word)
    await pause(pauseMs)
  }
  for (const word of reply.words) {
    if (response.destroyed) return
    writer.piece(word)
    await pause(pauseMs)
  }
  writer.end(reply)
}

/** What is said is made of what was asked: its words, its pictures, its tools, the form that it wants. */
function answer({ said, toolSaid, pictures, tools, schema, limit }: Wish): Reply {
  const [tool] = tools
  if (tool && toolSaid === undefined)
    return {
      words: [],
      call: { name: tool.name, arguments: instance(tool.parameters, said) },
      cut: false,
      input: wordsOf(said).length,
      output: 8,
    }
  const text =
    said === '' && toolSaid === undefined
      ? ''
      : toolSaid === undefined
        ? schema
          ? JSON.stringify(instance(schema, said))
          : `${repeated(said) ?? `You said: ${said}. That is ${said.split(' ').length} words.`}${pictures.map(see).join('')}`
        : `The tool said: ${toolSaid}.`
  const all = wordsOf(text)
  const words = limit === undefined ? all : all.slice(0, limit)
  const cut = words.length < all.length
  return { words, cut, input: wordsOf(said).length, output: words.length }
}

function thoughtsOn({ said }: Wish): string[] {
  return said === '' ? [] : wordsOf(`They said “${said}”. I count the words, then I answer.`)
}

/** Whatever follows these words, as it is: Markdown, for one. */
function repeated(said: string): string | undefined {
  return /^Say after me:\s*([\s\S]+)$/.exec(said)?.[1]
}

function wordsOf(text: string): string[] {
  return text.match(/\S+\s*/g) ?? []
}

/** A picture's measures, from the header of a PNG (RFC 2083 §4.1.1). */
function see(picture: string): string {
  const bytes = Buffer.from(picture, 'base64')
  return ` You showed ${bytes.readUInt32BE(16)} by ${bytes.readUInt32BE(20)} in ${bytes.length} bytes.`
}

/** The least that a JSON schema takes, made of what was said. */
function instance(schema: Schema, said: string): unknown {
  if (schema.enum) return schema.enum[0]
  if (schema.type === 'object')
    return Object.fromEntries(
      Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, instance(inner, said)]),
    )
  if (schema.type === 'array') return schema.items ? [instance(schema.items, said)] : []
  if (schema.type === 'integer' || schema.type === 'number') return wordsOf(said).length
  if (schema.type === 'boolean') return said.endsWith('?')
  return said
}

const vectors: Readonly<Record<string, (texts: readonly string[]) => object>> = {
  '/api/embed': (texts) => ({
    model,
    embeddings: texts.map(embed),
    total_duration: 5e6,
    load_duration: 1e6,
    prompt_eval_count: wordsOf(texts.join(' ')).length,
  }),
  '/api/embeddings': (texts) => ({ embedding: embed(texts.join(' ')) }),
  '/v1/embeddings': (texts) => ({
    object: 'list',
    data: texts.map((text, index) => ({ object: 'embedding', embedding: embed(text), index })),
    model,
    usage: {
      prompt_tokens: wordsOf(texts.join(' ')).length,
      total_tokens: wordsOf(texts.join(' ')).length,
    },
  }),
}

/** Its letters counted, at length one: texts alike lie near each other. */
function embed(text: string): number[] {
  const counts = Array.from({ length: 64 }, () => 0)
  for (const byte of Buffer.from(text)) counts[byte % 64] = (counts[byte % 64] ?? 0) + 1
  const length = Math.hypot(...counts) || 1
  return counts.map((count) => count / length)
}

function unknown(response: ServerResponse, path: string, name: string | undefined): void {
  const said = path.includes('embed')
    ? `model "${name}" not found, try pulling it first`
    : `model '${name}' not found`
  refuse(response, path, 404, said)
}

function refuse(response: ServerResponse, path: string, status: number, message: string): void {
  const type = status === 404 ? 'not_found_error' : 'invalid_request_error'
  if (path === '/v1/messages')
    return json(response, status, { type: 'error', error: { type, message }, request_id: 'req_1' })
  json(response, status, {
    error: path.startsWith('/v1') ? { message, type, param: null, code: null } : message,
  })
}
