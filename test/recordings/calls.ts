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

const ask = '"messages":[{"role":"user","content":"how far away is the moon"}]'

/** By the name of the recording. */
export const calls: Record<string, Call> = {
  version: { method: 'GET', path: '/api/version' },
  tags: { method: 'GET', path: '/api/tags' },
  models: { method: 'GET', path: '/v1/models' },
  chat: { method: 'POST', path: '/api/chat', body: `{"model":"MODEL","stream":false,${ask}}` },
  'chat-stream': { method: 'POST', path: '/api/chat', body: `{"model":"MODEL",${ask}}` },
  generate: { method: 'POST', path: '/api/generate', body: '{"model":"MODEL","stream":false,"prompt":"how far away is the moon"}' },
  'generate-stream': { method: 'POST', path: '/api/generate', body: '{"model":"MODEL","prompt":"how far away is the moon"}' },
  load: { method: 'POST', path: '/api/generate', body: '{"model":"MODEL"}' },
  completion: { method: 'POST', path: '/v1/chat/completions', body: `{"model":"MODEL",${ask}}` },
  'completion-stream': { method: 'POST', path: '/v1/chat/completions', body: `{"model":"MODEL","stream":true,${ask}}` },
  'completion-stream-usage': {
    method: 'POST',
    path: '/v1/chat/completions',
    body: `{"model":"MODEL","stream":true,"stream_options":{"include_usage":true},${ask}}`,
  },
  'unknown-model': { method: 'POST', path: '/api/chat', body: `{"model":"nobody",${ask}}` },
  'unknown-model-openai': { method: 'POST', path: '/v1/chat/completions', body: `{"model":"nobody",${ask}}` },
}

/** Puts a call to a server. */
export async function put(url: string, model: string, { method, path, body }: Call): Promise<Answer> {
  const answer = await fetch(url + path, { method, ...(body !== undefined && { body: body.replace('MODEL', model) }) })
  return { status: answer.status, contentType: answer.headers.get('content-type') ?? '', text: await answer.text() }
}

/**
 * The shape of an answer: keys and kinds of values, so that two servers with different words have the same.
 * Of a stream: the first piece, one in the middle, and what comes from the last word on.
 */
export function shapeOf({ status, contentType, text }: Answer): object {
  const pieces = text.split('\n').filter(Boolean).map((line) => pieceOf(line.replace(/^data: /, '')))
  const streamed = /ndjson|event-stream/.test(contentType)
  const ends = pieces.slice(pieces.findLastIndex((piece) => JSON.stringify(piece) === JSON.stringify(pieces[1])) + 1)
  return { status, contentType, pieces: streamed && pieces.length > 4 ? [pieces[0], pieces[1], ...ends] : pieces }
}

function pieceOf(text: string): unknown {
  if (text === '[DONE]') return text
  return kindOf(JSON.parse(text))
}

/** Words that clients act on stand as they are; all else by its kind. */
const telling = new Set(['role', 'object', 'finish_reason', 'done', 'done_reason', 'type', 'code', 'param'])

/** An answer that ends of itself and one that is cut at its limit have the same shape. */
function endOf(value: unknown): unknown {
  return value === 'length' ? 'stop' : value
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
