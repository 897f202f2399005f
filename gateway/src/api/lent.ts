/**
 * One lender by its name, at `/users/:username/:clientid/…`, for the keys of its person: what the gateway itself
 * serves at `…`, with the same limits, from that machine alone. Paths and errors are those of the seed's relay.
 */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { forward } from '#engines/forward.ts'
import { carry } from '#engines/tap.ts'
import type { Hub, LiveLender } from '#tunnel/hub.ts'
import { Failure } from '../failure.ts'
import { anthropicRoutes } from './anthropic.ts'
import { ollamaDialect } from './envelope.ts'
import type { ApiDeps } from './inference.ts'
import { transcriptionRoutes } from './media.ts'
import { ollamaRoutes, refuseMutation } from './ollama.ts'
import { openAiRoutes } from './openai.ts'
import type { Call, Route } from './route.ts'
import { passedOn } from './services.ts'
import { whileOpen } from './while-open.ts'

export interface LentDeps {
  readonly api: ApiDeps
  readonly hub: Pick<Hub, 'find'>
  /** Whether there was ever one of that name. */
  isKnown(person: string, name: string): Promise<boolean>
}

const place = '/users/:username/:clientid'

export function lentRoutes({ api, hub, isKnown }: LentDeps): Route[] {
  const made = new WeakMap<LiveLender, readonly Route[]>()
  /** The same routes, over what one lender has. */
  const routesOf = (lender: LiveLender): readonly Route[] => {
    const known = made.get(lender)
    if (known) return known
    const routes = servedBy({ ...api, engines: lender.lent.engines })
    made.set(lender, routes)
    return routes
  }
  const find = (call: Call): Promise<LiveLender> => lenderOf(call, hub, isKnown)
  return [
    ...servedBy(api).map((route, at): Route => ({
      group: 'member',
      method: route.method,
      dialect: route.dialect,
      path: place + route.path,
      async handle(call) {
        const lender = await find(call)
        call.record.backend = lender.id
        const own = routesOf(lender)[at]
        if (own?.group !== 'member') throw new Failure('not_found', 'There is nothing at this path.')
        return own.handle(call)
      },
    })),
    {
      group: 'member',
      dialect: ollamaDialect,
      method: 'ALL',
      path: `${place}/*`,
      async handle(call) {
        const lender = await find(call)
        const path = call.c.req.path.split('/').slice(4).join('/')
        refuseMutation(`/${path}`)
        const [, service] = /^services\/([a-z0-9-]+)(?:\/|$)/.exec(path) ?? []
        if (service === undefined || !lender.offer.services.includes(service))
          throw new Failure('not_found', 'This machine does not lend that.')
        return pass(call, api, lender, service, `/${path}`)
      },
    },
  ]
}

/** What models and Whisper answer; the catch-all of `/api` is here another one. */
function servedBy(api: ApiDeps): Route[] {
  return [
    ...openAiRoutes(api),
    ...anthropicRoutes(api),
    ...transcriptionRoutes(api),
    ...ollamaRoutes(api),
  ].filter(({ method }) => method !== 'ALL')
}

/** Throws a `Failure` in the words of the seed's relay. A lender of somebody else is not told from none. */
async function lenderOf(
  { c, caller }: Call,
  hub: LentDeps['hub'],
  isKnown: LentDeps['isKnown'],
): Promise<LiveLender> {
  if (!caller.key) throw new Failure('unauthorized', 'Invalid API Key')
  const { username = '', clientid = '' } = c.req.param()
  if (username !== caller.person) throw new Failure('not_found', 'User not found')
  const live = hub.find(username, clientid)
  if (live) return live
  if (!(await isKnown(username, clientid))) throw new Failure('not_found', 'Client Endpoint not found')
  throw new Failure('bad_upstream', 'User Hardware is offline.')
}

async function pass(
  call: Call,
  api: ApiDeps,
  lender: LiveLender,
  service: string,
  path: string,
): Promise<Response> {
  const { c, incoming, outgoing, record } = call
  record.service = service
  record.backend = lender.id
  await whileOpen(call, api, service, async (permit) => {
    const headers: Record<string, string> = {}
    for (const name of passedOn) {
      const value = incoming.headers[name]
      if (value !== undefined) headers[name] = value
    }
    const query = incoming.url?.includes('?') ? incoming.url.slice(incoming.url.indexOf('?')) : ''
    const { ended } = await forward(
      {
        upstream: lender.upstream,
        method: c.req.method,
        path: path + query,
        headers,
        body: c.req.method === 'GET' || c.req.method === 'HEAD' ? null : incoming,
        answerHeaders: { 'x-request-id': record.id, ...permit.headers },
        tap() {
          record.firstByteAt = performance.now()
          return carry()
        },
      },
      outgoing,
    )
    record.ended = ended
  })
  return RESPONSE_ALREADY_SENT
}
