/** OpenAI's API, as Ollama itself and other engines speak it at `/v1`; the demo in the same shapes. */
import { z } from 'zod'
import { demoModel } from '#engines/demo.ts'
import { isRecord } from '#engines/json.ts'
import { friendOf } from '#protocol/model-name.ts'
import { Failure } from '../failure.ts'
import { readModelRequest, staysHere, type ModelRequest } from './body.ts'
import { demoOpenAi, isDemo } from './demo.ts'
import { openAiDialect } from './envelope.ts'
import { openAiGrammar, responsesGrammar } from './grammars.ts'
import { infer, type ApiDeps } from './inference.ts'
import { embeddings, modelsFor } from './ollama.ts'
import type { Call, Route } from './route.ts'

const model = z.string().describe('A name from /v1/models')
const stream = z.boolean().default(false)
const message = z.looseObject({ role: z.string(), content: z.unknown() })

export function openAiRoutes(deps: ApiDeps): Route[] {
  const { engines } = deps
  const route = { group: 'member', dialect: openAiDialect } as const
  const describe = (id: string) => ({
    id,
    object: 'model',
    created: 0,
    owned_by: friendOf(id) ?? 'library',
  })
  const names = (call: Call) =>
    isDemo(engines) ? [demoModel] : modelsFor(deps, call.caller).map(({ name }) => name)
  return [
    {
      ...route,
      method: 'POST',
      path: '/v1/chat/completions',
      summary: 'Chat',
      body: z.looseObject({
        model,
        messages: z.array(message),
        stream,
        max_completion_tokens: z.int().optional(),
      }),
      async handle(call) {
        const request = named(await readModelRequest(call.incoming))
        staysHere(request)
        if (isDemo(engines)) return demoOpenAi(call, request)
        return complete(call, deps, '/v1/chat/completions', request)
      },
    },
    {
      ...route,
      method: 'POST',
      path: '/v1/completions',
      summary: 'An answer to a prompt',
      body: z.looseObject({ model, prompt: z.string(), stream, max_tokens: z.int().optional() }),
      handle: async (call) => complete(call, deps, '/v1/completions', await readModelRequest(call.incoming)),
    },
    {
      ...route,
      method: 'POST',
      path: '/v1/responses',
      summary: 'Responses',
      body: z.looseObject({ model, input: z.unknown(), stream, max_output_tokens: z.int().optional() }),
      async handle(call) {
        const request = await readModelRequest(call.incoming)
        staysHere(request)
        return infer(call, deps, {
          service: 'chat',
          path: '/v1/responses',
          grammar: responsesGrammar,
          request,
          output: numberIn(request.max_output_tokens),
          limited: (asked, output) => ({ ...asked, max_output_tokens: output }),
          events: request.stream === true,
        })
      },
    },
    {
      ...route,
      method: 'POST',
      path: '/v1/embeddings',
      summary: 'Embeddings',
      body: z.looseObject({ model, input: z.union([z.string(), z.array(z.string())]) }),
      handle: async (call) =>
        infer(call, deps, {
          ...embeddings,
          path: '/v1/embeddings',
          grammar: openAiGrammar(false),
          request: await readModelRequest(call.incoming),
        }),
    },
    {
      ...route,
      method: 'GET',
      path: '/v1/models',
      summary: 'The models that the caller may use',
      handle: (call) => call.c.json({ object: 'list', data: names(call).map(describe) }),
    },
    {
      ...route,
      method: 'GET',
      // A model's name may hold a slash.
      path: '/v1/models/:model{.+}',
      summary: 'One of them',
      handle(call) {
        const wanted = call.c.req.param('model') ?? ''
        const found = names(call).find((name) => name === wanted || name === engines.pool.resolve(wanted))
        if (found === undefined)
          throw new Failure('not_found', `model: there is no “${wanted.slice(0, 256)}” here.`)
        return call.c.json(describe(wanted))
      },
    },
  ]
}

/** Last of all: what is asked for below `/v1` and is not there. */
export function openAiElsewhere(known: readonly Route[]): Route {
  const paths = [...new Set(known.map(({ path }) => path).filter((path) => /^\/v1\/[a-z/_]+$/.test(path)))]
  return {
    group: 'member',
    dialect: openAiDialect,
    method: 'ALL',
    path: '/v1/*',
    handle({ c }) {
      if (paths.includes(c.req.path))
        throw new Failure('method', `${c.req.path} is not asked by ${c.req.method}.`)
      throw new Failure('not_found', `The gateway serves ${paths.join(', ')} and the WebSocket /v1/realtime.`)
    },
  }
}

function complete(call: Call, deps: ApiDeps, path: string, request: ModelRequest): Promise<Response> {
  const streams = request.stream === true
  const asked = isRecord(request.stream_options) ? request.stream_options : {}
  return infer(call, deps, {
    service: 'chat',
    path,
    grammar: openAiGrammar(asked.include_usage === true),
    // A stream says what it took only where it is asked to.
    request: streams ? { ...request, stream_options: { ...asked, include_usage: true } } : request,
    output: numberIn(request.max_tokens),
    limited: (wanted, output) => ({ ...wanted, max_tokens: output }),
    events: streams,
  })
}

/** Ollama does not read `max_completion_tokens`: an answer without the limit that was asked for would be wrong. */
function named({ max_completion_tokens: limit, ...request }: ModelRequest): ModelRequest {
  return limit === undefined || request.max_tokens !== undefined ? request : { ...request, max_tokens: limit }
}

function numberIn(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.floor(value) : undefined
}
