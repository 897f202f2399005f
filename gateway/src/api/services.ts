/** Services of the config: keyed, limited and written down like the rest, and otherwise passed through. */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Pool } from 'undici'
import { forward } from '#engines/forward.ts'
import { carry } from '#engines/tap.ts'
import { Failure } from '../failure.ts'
import { ollamaDialect } from './envelope.ts'
import type { ApiDeps } from './inference.ts'
import type { Call, Route } from './route.ts'
import { whileOpen } from './while-open.ts'

export interface ServiceConfig {
  /** What keys are allowed it by, and its place: `/services/NAME/…` */
  readonly name: string
  readonly upstream: string
  /** Exact paths at the upstream; one that ends in `/*` stands for what is below it. */
  readonly paths: readonly string[]
  readonly methods: readonly string[]
  readonly timeoutMs: number
}

export interface Service extends ServiceConfig {
  readonly pool: Pool
  close(): Promise<void>
}

export function openService(config: ServiceConfig): Service {
  const { origin } = new URL(config.upstream)
  const pool = new Pool(origin, {
    connections: 64,
    headersTimeout: config.timeoutMs,
    bodyTimeout: config.timeoutMs,
  })
  return { ...config, pool, close: () => pool.destroy() }
}

export function serviceRoutes(services: readonly Service[], deps: ApiDeps): Route[] {
  return services.map((service) => ({
    group: 'member',
    dialect: ollamaDialect,
    method: 'ALL',
    path: `/services/${service.name}/*`,
    handle: (call) => pass(call, service, deps),
  }))
}

/** Headers that mean something to a service; who the caller is, and its key, stay here. */
export const passedOn = ['content-type', 'content-length', 'accept', 'accept-language', 'range'] as const

async function pass(call: Call, service: Service, deps: ApiDeps): Promise<Response> {
  const { c, incoming, outgoing, record } = call
  record.service = service.name
  const path = c.req.path.slice(`/services/${service.name}`.length)
  if (!service.paths.some((one) => allows(one, path)))
    throw new Failure('not_found', `${service.name} serves ${service.paths.join(', ')}.`)
  if (!service.methods.includes(c.req.method))
    throw new Failure('method', `${service.name} is asked by ${service.methods.join(', ')}.`)
  await whileOpen(call, deps, service.name, async (permit) => {
    const headers: Record<string, string> = {}
    for (const name of passedOn) {
      const value = incoming.headers[name]
      if (value !== undefined) headers[name] = value
    }
    record.backend = service.name
    const { pathname } = new URL(service.upstream)
    const query = incoming.url?.includes('?') ? incoming.url.slice(incoming.url.indexOf('?')) : ''
    const { ended } = await forward(
      {
        upstream: service.pool,
        method: c.req.method,
        path: `${pathname.replace(/\/$/, '')}${path}${query}`,
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

/** A path as the config has it, against one that was asked for: no dots, and nothing encoded that could be some. */
function allows(pattern: string, path: string): boolean {
  if (/%2e|%2f|%5c|\\|\/\.{1,2}(?:\/|$)|\/\//i.test(path)) return false
  return pattern.endsWith('/*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern
}
