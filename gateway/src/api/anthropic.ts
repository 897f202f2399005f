/** Anthropic's Messages API, as Ollama speaks it at `/v1/messages`. */
import { z } from 'zod'
import { missingModel, noSuchModel } from '#engines/no-model.ts'
import { Failure } from '../failure.ts'
import { readModelRequest, staysHere, writeBody } from './body.ts'
import { anthropicDialect } from './envelope.ts'
import { anthropicGrammar } from './grammars.ts'
import { bytesPerToken, infer, type ApiDeps } from './inference.ts'
import type { Route } from './route.ts'

const messages = z.array(z.looseObject({ role: z.enum(['user', 'assistant']), content: z.unknown() }))

export function anthropicRoutes(deps: ApiDeps): Route[] {
  const route = { group: 'member', dialect: anthropicDialect, method: 'POST' } as const
  return [
    {
      ...route,
      path: '/v1/messages',
      summary: 'Chat, as Anthropic has it',
      body: z.looseObject({
        model: z.string(),
        max_tokens: z.int(),
        messages,
        stream: z.boolean().default(false),
      }),
      async handle(call) {
        const request = await readModelRequest(call.incoming)
        staysHere(request)
        const { max_tokens: output } = request
        if (typeof output !== 'number' || !Number.isInteger(output) || output < 1)
          throw new Failure('invalid', 'max_tokens: give a whole number from 1 up.')
        return infer(call, deps, {
          service: 'chat',
          path: '/v1/messages',
          kind: 'ollama',
          grammar: anthropicGrammar,
          request,
          output,
          limited: (asked, limit) => ({ ...asked, max_tokens: limit }),
          events: request.stream === true,
        })
      },
    },
    {
      ...route,
      path: '/v1/messages/count_tokens',
      summary: 'About how many tokens a request has: four bytes count as one',
      body: z.looseObject({ model: z.string(), messages }),
      async handle({ c, caller, incoming }) {
        const request = await readModelRequest(incoming)
        const model = deps.engines.pool.resolve(request.model)
        if (model === undefined) throw missingModel(deps.engines.pool, request.model)
        if (!deps.admission.mayUse(caller, model)) throw noSuchModel(request.model)
        const { system, messages: said, tools } = request
        const bytes = writeBody({ model: '', system, said, tools }).length
        return c.json({ input_tokens: Math.ceil(bytes / bytesPerToken) })
      },
    },
  ]
}
