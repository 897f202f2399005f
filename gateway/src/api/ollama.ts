/** Ollama's native API: what is on the list is streamed through, what changes the house is refused for good. */
import { z } from 'zod'
import { demoModel } from '#engines/demo.ts'
import { isRecord, parseJson } from '#engines/json.ts'
import { missingModel, noSuchModel } from '#engines/no-model.ts'
import { textOf } from '#engines/text-of.ts'
import type { Member } from '#identity/caller.ts'
import { Failure } from '../failure.ts'
import { readModelRequest, staysHere, withinLimits, writeBody, type ModelRequest } from './body.ts'
import { demoNative, isDemo } from './demo.ts'
import { ollamaDialect } from './envelope.ts'
import { nativeGrammar } from './grammars.ts'
import { infer, type ApiDeps, type Inference } from './inference.ts'
import type { Call, Route } from './route.ts'

/**
 * Paths that change models, speak for the owner's account or reach outside. No setting lifts it.
 * Source: `server/routes.go` in ollama/ollama.
 */
const refused = /^\/api\/(pull|push|create|copy|delete|blobs|me|signout|user|experimental)(\/|$)/i

const model = z.string().describe('A name from /api/tags, or an alias')
const options = z.looseObject({ num_predict: z.int().optional(), num_ctx: z.int().optional() }).optional()
const chatBody = z.looseObject({
  model,
  messages: z.array(z.looseObject({ role: z.string(), content: z.string() })),
  stream: z.boolean().default(true),
  options,
})
const generateBody = z.looseObject({
  model,
  prompt: z.string().optional(),
  stream: z.boolean().default(true),
  options,
})
const embedBody = z.looseObject({ model, input: z.union([z.string(), z.array(z.string())]) })

export function ollamaRoutes(deps: ApiDeps): Route[] {
  const { engines } = deps
  const route = { group: 'member', dialect: ollamaDialect } as const
  const chat = (call: Call) => native(call, deps, '/api/chat')
  const generate = (call: Call) => native(call, deps, '/api/generate')
  return [
    {
      ...route,
      method: 'POST',
      path: '/api/chat',
      summary: 'Chat, as Ollama has it',
      body: chatBody,
      handle: chat,
    },
    {
      ...route,
      method: 'POST',
      path: '/api/generate',
      summary: 'An answer to a prompt',
      body: generateBody,
      handle: generate,
    },
    {
      ...route,
      method: 'POST',
      path: '/chat/api/chat',
      summary: 'The same as /api/chat',
      body: chatBody,
      handle: chat,
    },
    {
      ...route,
      method: 'POST',
      path: '/chat/api/generate',
      summary: 'The same as /api/generate',
      body: generateBody,
      handle: generate,
    },
    {
      ...route,
      method: 'POST',
      path: '/api/embed',
      summary: 'Embeddings',
      body: embedBody,
      handle: (call) => embed(call, deps, '/api/embed'),
    },
    {
      ...route,
      method: 'POST',
      path: '/api/embeddings',
      summary: 'One embedding, the older way',
      body: z.looseObject({ model, prompt: z.string() }),
      handle: (call) => embed(call, deps, '/api/embeddings'),
    },
    {
      ...route,
      method: 'GET',
      path: '/api/tags',
      summary: 'The models that the caller may use',
      // Local models alone: the pool has left out those that live elsewhere.
      handle: ({ c, caller }) =>
        c.json({
          models: isDemo(engines) ? [{ name: demoModel, model: demoModel }] : modelsFor(deps, caller),
        }),
    },
    {
      ...route,
      method: 'GET',
      path: '/api/ps',
      summary: 'The models that are in memory',
      handle({ c, caller }) {
        const loaded = new Set(engines.pool.backends.flatMap((backend) => backend.loaded))
        return c.json({ models: modelsFor(deps, caller).filter(({ name }) => loaded.has(name)) })
      },
    },
    {
      ...route,
      method: 'POST',
      path: '/api/show',
      summary: 'What a model is and can do',
      body: z.looseObject({ model }),
      handle: (call) => show(call, deps),
    },
    {
      ...route,
      method: 'GET',
      path: '/api/version',
      summary: 'The version of Ollama',
      // Clients ask for it to see whether Ollama is there, and parse it as numbers.
      handle: ({ c }) => c.json({ version: engines.pool.version ?? '0.0.0' }),
    },
    {
      ...route,
      method: 'ALL',
      path: '/api/*',
      handle({ c }) {
        refuseMutation(c.req.path)
        if (served.has(c.req.path))
          throw new Failure('method', `${c.req.path} is not asked by ${c.req.method}.`)
        throw new Failure('not_found', `The gateway serves ${[...served].join(', ')}.`)
      },
    },
  ]
}

/** Throws a `Failure` for a path that nobody may ask for. */
export function refuseMutation(path: string): void {
  if (refused.test(path))
    throw new Failure(
      'forbidden',
      'Models and accounts are managed on the gateway’s own machine, never through the gateway.',
    )
}

const served = new Set([
  '/api/chat',
  '/api/generate',
  '/api/embed',
  '/api/embeddings',
  '/api/tags',
  '/api/ps',
  '/api/show',
  '/api/version',
])

/** The models that a caller may ask for. */
export function modelsFor({ engines, admission }: ApiDeps, caller: Member) {
  return engines.pool.models.filter(({ name }) => admission.mayUse(caller, name))
}

async function native(call: Call, deps: ApiDeps, path: '/api/chat' | '/api/generate'): Promise<Response> {
  const read = await readModelRequest(call.incoming)
  staysHere(read)
  const asked = path === '/api/chat' ? read.messages : read.prompt
  const nothing = asked === undefined || asked === '' || (Array.isArray(asked) && asked.length === 0)
  const request = withinLimits(read, deps.limits, nothing)
  if (isDemo(deps.engines)) return demoNative(call, path === '/api/chat', request)
  return infer(call, deps, {
    service: 'chat',
    path,
    kind: 'ollama',
    grammar: nativeGrammar,
    request,
    // Loading a model makes no tokens.
    output: nothing ? null : outputOf(request),
    limited: limitNative,
    events: false,
  })
}

/** `num_predict`: what is negative means “until it ends”. */
function outputOf({ options: given }: ModelRequest): number | undefined {
  const limit: unknown = isRecord(given) ? given.num_predict : undefined
  return typeof limit === 'number' && limit >= 0 ? limit : undefined
}

function limitNative(request: ModelRequest, output: number): ModelRequest {
  return { ...request, options: { ...(isRecord(request.options) && request.options), num_predict: output } }
}

async function embed(call: Call, deps: ApiDeps, path: string): Promise<Response> {
  const request = withinLimits(await readModelRequest(call.incoming), deps.limits, false)
  return infer(call, deps, { ...embeddings, path, kind: 'ollama', grammar: nativeGrammar, request })
}

/** Embeddings have no output that could be limited. */
export const embeddings: Pick<Inference, 'service' | 'output' | 'limited' | 'events'> = {
  service: 'embeddings',
  output: null,
  limited: (request) => request,
  events: false,
}

/** A large model has a vocabulary to tell. */
const maxShownBytes = 32 * 1024 * 1024

/** What the model is, without the file that says where on the machine it lies. */
async function show({ c, incoming, caller }: Call, { engines, admission }: ApiDeps): Promise<Response> {
  const { model: asked } = await readModelRequest(incoming)
  const name = engines.pool.resolve(asked)
  if (name === undefined) throw missingModel(engines.pool, asked)
  if (!admission.mayUse(caller, name)) throw noSuchModel(asked)
  const place = await engines.pool.place({
    model: name,
    kind: 'ollama',
    tenant: caller.tenant.id,
    caller: caller.deviceId ?? 'host',
    signal: c.req.raw.signal,
  })
  place.leave()
  const { upstream, base, wording } = place.backend
  const body = writeBody({ model: name })
  const answer = await upstream
    .request({
      method: 'POST',
      path: `${base}/api/show`,
      headers: { 'content-type': 'application/json' },
      body,
    })
    .catch((error: unknown) => {
      throw wording?.away(error) ?? new Failure('unavailable', 'The engine does not answer.', error)
    })
  const read = parseJson(await textOf(answer.body, maxShownBytes))
  if (answer.statusCode !== 200 || !isRecord(read))
    throw new Failure('bad_upstream', 'The engine did not say what this model is.')
  // A model that was made of a file has its path for a parent.
  const { modelfile: _, details, ...shown } = read
  return c.json({ ...shown, ...(isRecord(details) && { details: { ...details, parent_model: '' } }) })
}
