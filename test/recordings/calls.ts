/** The calls in which the stand-in for Ollama is held to the real one, and how they are put and kept. */

export interface Call {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** `MODEL` stands for the model's name. */
  readonly body?: string
}

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly text: string
}

const question = 'how far away is the moon'
const messages = [{ role: 'user', content: question }]
const parameters = {
  type: 'object',
  properties: { city: { type: 'string', enum: ['Rome', 'Oslo'] } },
  required: ['city'],
}
/** Random weights call a tool only where they are held to the form of a call. */
const call = {
  type: 'object',
  properties: { name: { type: 'string', enum: ['weather'] }, parameters },
  required: ['name', 'parameters'],
}
const named = { name: 'weather', description: 'Tells the weather of a city', parameters }
const tools = [{ type: 'function', function: named }]
const format = { type: 'json_schema', json_schema: { name: 'call', schema: call } }
const post = (path: string, body: object): Call => ({
  method: 'POST',
  path,
  body: JSON.stringify({ model: 'MODEL', ...body }),
})

/** By the name of the recording. */
export const calls: Record<string, Call> = {
  version: { method: 'GET', path: '/api/version' },
  tags: { method: 'GET', path: '/api/tags' },
  models: { method: 'GET', path: '/v1/models' },
  show: post('/api/show', {}),
  chat: post('/api/chat', { stream: false, messages }),
  'chat-stream': post('/api/chat', { messages }),
  'chat-format': post('/api/chat', { stream: false, messages, format: parameters, options: { num_predict: 200 } }),
  'chat-tools': post('/api/chat', { stream: false, messages, tools, format: call, options: { num_predict: 200 } }),
  'chat-tools-stream': post('/api/chat', { messages, tools, format: call, options: { num_predict: 200 } }),
  ps: { method: 'GET', path: '/api/ps' },
  generate: post('/api/generate', { stream: false, prompt: question }),
  'generate-stream': post('/api/generate', { prompt: question }),
  load: post('/api/generate', {}),
  embed: post('/api/embed', { input: [question, 'b'] }),
  embeddings: post('/api/embeddings', { prompt: question }),
  completion: post('/v1/chat/completions', { messages }),
  'completion-stream': post('/v1/chat/completions', { stream: true, messages }),
  'completion-stream-usage': post('/v1/chat/completions', {
    stream: true,
    stream_options: { include_usage: true },
    messages,
  }),
  'completion-tools': post('/v1/chat/completions', { messages, tools, response_format: format, max_tokens: 200 }),
  'completion-tools-stream': post('/v1/chat/completions', {
    stream: true,
    messages,
    tools,
    response_format: format,
    max_tokens: 200,
  }),
  text: post('/v1/completions', { prompt: question }),
  'text-stream': post('/v1/completions', {
    stream: true,
    stream_options: { include_usage: true },
    prompt: question,
  }),
  responses: post('/v1/responses', { input: question }),
  'responses-stream': post('/v1/responses', { stream: true, input: question }),
  'responses-tools': post('/v1/responses', {
    input: question,
    tools: [{ type: 'function', ...named }],
    text: { format: { type: 'json_schema', name: 'call', schema: call } },
    max_output_tokens: 200,
  }),
  'responses-tools-stream': post('/v1/responses', {
    stream: true,
    input: question,
    tools: [{ type: 'function', ...named }],
    text: { format: { type: 'json_schema', name: 'call', schema: call } },
    max_output_tokens: 200,
  }),
  'embeddings-openai': post('/v1/embeddings', { input: question }),
  messages: post('/v1/messages', { max_tokens: 24, messages }),
  'messages-stream': post('/v1/messages', { stream: true, max_tokens: 24, messages }),
  'wrong-type': post('/api/chat', { messages: 'none' }),
  'wrong-type-openai': post('/v1/chat/completions', { messages: 'none' }),
  'unknown-model': post('/api/chat', { model: 'nobody', messages }),
  'unknown-model-openai': post('/v1/chat/completions', { model: 'nobody', messages }),
  'unknown-model-responses': post('/v1/responses', { model: 'nobody', input: question }),
  'unknown-model-messages': post('/v1/messages', { model: 'nobody', max_tokens: 24, messages }),
  'unknown-model-embed': post('/api/embed', { model: 'nobody', input: question }),
}

/** Puts a call to a server. */
export async function put(url: string, model: string, { method, path, body }: Call): Promise<Answer> {
  const answer = await fetch(url + path, { method, ...(body !== undefined && { body: body.replace('MODEL', model) }) })
  return { status: answer.status, contentType: answer.headers.get('content-type') ?? '', text: await answer.text() }
}

/**
 * The shape of an answer: keys and kinds of values, so that two servers with different words have the same.
 * Of a stream, pieces of one shape that follow each other count as one.
 */
export function shapeOf({ status, contentType, text }: Answer): object {
  const pieces = text
    .split(contentType.startsWith('text/event-stream') ? '\n\n' : '\n')
    .filter((piece) => piece.trim() !== '')
    .map(pieceOf)
  const shapes = pieces.filter((piece, at) => at === 0 || JSON.stringify(piece) !== JSON.stringify(pieces[at - 1]))
  return { status, contentType, shapes }
}

function pieceOf(piece: string): unknown {
  const [, event, data] = /^(?:event: (.*)\n)?data: (.*)$/.exec(piece) ?? [undefined, undefined, piece]
  const shape = data === '[DONE]' ? data : kindOf(JSON.parse(data ?? ''))
  return event === undefined ? shape : { event, shape }
}

/** Words that clients act on stand as they are; all else by its kind. */
const telling = new Set([
  'role',
  'object',
  'finish_reason',
  'done',
  'done_reason',
  'stop_reason',
  'status',
  'type',
  'code',
  'param',
])

/** An answer that ends of itself and one that is cut at its limit have the same shape. */
function endOf(value: unknown): unknown {
  return value === 'length' ? 'stop' : value === 'max_tokens' ? 'end_turn' : value
}

function kindOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [kindOf(value[0])]
  if (typeof value !== 'object' || value === null) return value === null ? null : typeof value
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([one], [other]) => (one < other ? -1 : 1))
      .map(([key, inner]) => [key, telling.has(key) ? endOf(inner) : kindOf(inner)]),
  )
}
