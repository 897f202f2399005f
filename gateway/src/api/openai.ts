/** OpenAI's API, as Ollama itself speaks it at `/v1`; the demo in the same shapes. */
import { randomUUID } from 'node:crypto'
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono, type Context } from 'hono'
import { streamSSE } from 'hono/streaming'
import { demoModel } from '#engines/demo.ts'
import type { Engines } from '#engines/engine.ts'
import { Failure } from '../failure.ts'
import { mustBeLocal, readModelRequest, writeBody, type ModelRequest } from './body.ts'
import { asFailure, openAiError } from './envelope.ts'
import { readMessages } from './messages.ts'
import { collect, names, type ApiDeps } from './ollama.ts'

type Bindings = { Bindings: HttpBindings }

export function createOpenAiApi({ engines, log }: ApiDeps): Hono<Bindings> {
  const api = new Hono<Bindings>()
  const describe = (id: string) => ({ id, object: 'model', created: 0, owned_by: 'library' })
  api.post('/v1/chat/completions', async (c) => {
    const request = await readModelRequest(c.env.incoming)
    const { upstream } = engines
    if (!upstream) return answerDemo(c, engines, request)
    mustBeLocal(upstream, request)
    await upstream.forward(
      { method: 'POST', path: '/v1/chat/completions', body: writeBody(named(request)) },
      c.env.outgoing,
    )
    return RESPONSE_ALREADY_SENT
  })
  api.get('/v1/models', (c) => c.json({ object: 'list', data: names(engines).map(describe) }))
  // A model's name may hold a slash.
  api.get('/v1/models/:model{.+}', (c) => {
    const model = c.req.param('model')
    if (!names(engines).includes(model))
      throw new Failure('not_found', `model: there is no “${model.slice(0, 256)}” here.`)
    return c.json(describe(model))
  })
  api.all('/v1/*', () => {
    throw new Failure(
      'not_found',
      'The gateway serves /v1/chat/completions, /v1/models and the WebSocket /v1/realtime.',
    )
  })
  api.onError((error, c) => {
    const failure = asFailure(error)
    if (failure.code === 'internal') log.error({ err: error, path: c.req.path }, 'a request failed')
    const { status, body } = openAiError(failure)
    return c.json(body, status)
  })
  return api
}

/** Ollama does not read `max_completion_tokens`: an answer without the limit that was asked for would be wrong. */
function named({ max_completion_tokens: limit, ...request }: ModelRequest): ModelRequest {
  return limit === undefined || request.max_tokens !== undefined ? request : { ...request, max_tokens: limit }
}

function answerDemo(c: Context<Bindings>, engines: Engines, request: ModelRequest) {
  const base = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: demoModel }
  const pieces = engines.chat.chat(
    { model: demoModel, messages: readMessages(request.messages) },
    c.req.raw.signal,
  )
  if (request.stream !== true)
    return collect(pieces).then((content) =>
      c.json({
        ...base,
        object: 'chat.completion',
        choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
      }),
    )
  const chunk = (delta: object, reason: 'stop' | null) =>
    JSON.stringify({
      ...base,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, finish_reason: reason }],
    })
  return streamSSE(c, async (out) => {
    await out.writeSSE({ data: chunk({ role: 'assistant', content: '' }, null) })
    for await (const content of pieces) await out.writeSSE({ data: chunk({ content }, null) })
    await out.writeSSE({ data: chunk({}, 'stop') })
    await out.writeSSE({ data: '[DONE]' })
  })
}
