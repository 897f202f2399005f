/** Ollama's native API: what is on the list is streamed through, what changes the house is refused for good. */
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono, type Context } from 'hono'
import { stream } from 'hono/streaming'
import type { Logger } from 'pino'
import { demoModel } from '#engines/demo.ts'
import type { Engines } from '#engines/engine.ts'
import { Failure } from '../failure.ts'
import { mustBeLocal, readModelRequest, writeBody, type ModelRequest } from './body.ts'
import { asFailure, ollamaError } from './envelope.ts'
import { readMessages } from './messages.ts'

export interface ApiDeps {
  readonly engines: Engines
  readonly log: Pick<Logger, 'error'>
}

type Bindings = { Bindings: HttpBindings }

/**
 * Paths that change models, speak for the owner's account or reach outside. No setting lifts it.
 * Source: `server/routes.go` in ollama/ollama.
 */
const refused = /^\/api\/(pull|push|create|copy|delete|blobs|me|signout|user|experimental)(\/|$)/i

export function createOllamaApi({ engines, log }: ApiDeps): Hono<Bindings> {
  const api = new Hono<Bindings>()
  api.post('/api/chat', (c) => infer(c, engines, '/api/chat'))
  api.post('/api/generate', (c) => infer(c, engines, '/api/generate'))
  // Local models alone: the upstream has left out those that live elsewhere.
  api.get('/api/tags', (c) =>
    c.json({ models: engines.upstream?.models ?? [{ name: demoModel, model: demoModel }] }),
  )
  // Clients ask for it to see whether Ollama is there, and parse it as numbers.
  api.get('/api/version', (c) => c.json({ version: engines.upstream?.version ?? '0.0.0' }))
  api.all('/api/*', (c) => {
    const gone = refused.test(c.req.path)
      ? new Failure(
          'forbidden',
          'Models and accounts are managed on the gateway’s own machine, never through the gateway.',
        )
      : new Failure('not_found', 'The gateway serves /api/chat, /api/generate, /api/tags and /api/version.')
    const { status, body } = ollamaError(gone)
    return c.json(body, status)
  })
  api.onError((error, c) => {
    const failure = asFailure(error)
    if (failure.code === 'internal') log.error({ err: error, path: c.req.path }, 'a request failed')
    const { status, body } = ollamaError(failure)
    return c.json(body, status)
  })
  return api
}

async function infer(c: Context<Bindings>, engines: Engines, path: '/api/chat' | '/api/generate') {
  const request = await readModelRequest(c.env.incoming)
  const { upstream } = engines
  if (!upstream) return answerDemo(c, engines, path, request)
  mustBeLocal(upstream, request)
  await upstream.forward({ method: 'POST', path, body: writeBody(request) }, c.env.outgoing)
  return RESPONSE_ALREADY_SENT
}

/** Ollama's own shapes, filled by the demo. */
function answerDemo(c: Context<Bindings>, engines: Engines, path: string, request: ModelRequest) {
  const model = demoModel
  const messages =
    path === '/api/chat'
      ? readMessages(request.messages)
      : [{ role: 'user' as const, content: typeof request.prompt === 'string' ? request.prompt : '' }]
  const said = (text: string) =>
    path === '/api/chat' ? { message: { role: 'assistant', content: text } } : { response: text }
  const line = (text: string, done: boolean) => ({
    model,
    created_at: new Date().toISOString(),
    ...said(text),
    done,
    ...(done && { done_reason: 'stop', total_duration: 0 }),
  })
  const pieces = engines.chat.chat({ model, messages }, c.req.raw.signal)
  if (request.stream === false) return collect(pieces).then((text) => c.json(line(text, true)))
  c.header('Content-Type', 'application/x-ndjson')
  return stream(c, async (out) => {
    for await (const piece of pieces) await out.write(`${JSON.stringify(line(piece, false))}\n`)
    await out.write(`${JSON.stringify(line('', true))}\n`)
  })
}

/** The whole answer as one text. */
export async function collect(pieces: AsyncIterable<string>): Promise<string> {
  let text = ''
  for await (const piece of pieces) text += piece
  return text
}

/** Model names that a caller may ask for. */
export function names({ states, upstream }: Engines): readonly string[] {
  return upstream ? states.chat.models : [demoModel]
}
