/** The HTTP side as one app: every route with its group, from the dialects to the web app. */
import { Hono } from 'hono'
import type { Registry } from 'prom-client'
import { anthropicRoutes } from '#api/anthropic.ts'
import { conversationRoutes } from '#api/conversations.ts'
import { ollamaDialect } from '#api/envelope.ts'
import { healthRoutes } from '#api/health.ts'
import { mediaRoutes, type MediaDeps } from '#api/media.ts'
import { ollamaRoutes } from '#api/ollama.ts'
import { openAiElsewhere, openAiRoutes } from '#api/openai.ts'
import { openApiRoute } from '#api/openapi.ts'
import { overlayRoutes, type OverlayDeps } from '#api/overlay.ts'
import { corsOf, register, type Route, type RouteDeps, type Visit } from '#api/route.ts'
import { serviceRoutes, type Service } from '#api/services.ts'
import type { Conversations } from '#conversations/conversations.ts'
import type { AppEnv } from '#identity/app-env.ts'
import { createEnrol, createPlain, type EnrolDeps } from '#listener/enrol.ts'
import { createWeb } from '#listener/web.ts'

export interface AppDeps extends RouteDeps {
  readonly api: MediaDeps
  readonly services: readonly Service[]
  readonly overlay: Omit<OverlayDeps, 'metrics'>
  readonly conversations: Conversations
  readonly metrics: Registry
  /** Whether records can be written. */
  ready(): boolean
  readonly enrol: EnrolDeps
  /** What `nuxt generate` made. */
  readonly web: string
}

export function createApp(deps: AppDeps): Hono<AppEnv> {
  const models = [...openAiRoutes(deps.api), ...mediaRoutes(deps.api), ...anthropicRoutes(deps.api)]
  const native = ollamaRoutes(deps.api)
  const documented = [
    ...healthRoutes(deps.api.engines, deps.ready),
    ...models,
    ...native,
    ...serviceRoutes(deps.services, deps.api),
    ...conversationRoutes(deps.conversations),
    ...overlayRoutes({ ...deps.overlay, metrics: deps.metrics }),
  ]
  const app = new Hono<AppEnv>()
  register(
    app,
    [
      ...documented,
      openAiElsewhere(models),
      openApiRoute(documented),
      ...enrolRoutes(createEnrol(deps.enrol)),
      preflight,
      ...pages(createWeb(deps.web)),
    ],
    deps,
  )
  return app
}

/** For a device that does not trust us yet: what comes without TLS. */
export function createPlainApp(deps: RouteDeps & { readonly enrol: EnrolDeps }): Hono<AppEnv> {
  const plain = createPlain(createEnrol(deps.enrol))
  const app = new Hono<AppEnv>()
  register(
    app,
    [
      ...enrolRoutes(plain),
      {
        group: 'member',
        method: 'ALL',
        path: '*',
        dialect: ollamaDialect,
        quiet: true,
        handle: within(plain),
      },
    ],
    deps,
  )
  return app
}

/** What a device needs that is not in yet. */
function enrolRoutes(enrol: Hono<AppEnv>): Route[] {
  return ['/enrol', '/ca.crt', '/ca.mobileconfig'].map((path) => ({
    group: 'guest',
    method: 'GET',
    path,
    dialect: ollamaDialect,
    quiet: true,
    visit: within(enrol),
  }))
}

/** A browser asks beforehand whether a page of another origin may; that it got here says so. */
const preflight: Route = {
  group: 'member',
  method: 'OPTIONS',
  path: '*',
  dialect: ollamaDialect,
  quiet: true,
  handle: ({ c, outgoing }) =>
    c.body(null, 204, {
      'access-control-allow-methods': 'GET, POST, PATCH, DELETE, OPTIONS',
      'access-control-allow-headers': c.req.header('access-control-request-headers') ?? '',
      'access-control-max-age': '600',
      ...corsOf(outgoing),
    }),
}

function pages(web: Hono): Route[] {
  const page = { group: 'member', dialect: ollamaDialect, quiet: true } as const
  const asPage = within(web)
  return [
    {
      ...page,
      method: 'GET',
      path: '/',
      // Ollama's clients ask here whether it runs; a browser wants the page.
      handle: (call) =>
        call.c.req.header('accept')?.includes('text/html') ? asPage(call) : call.c.text('Ollama is running'),
    },
    {
      ...page,
      method: 'ALL',
      path: '*',
      async handle(call) {
        const answer = await asPage(call)
        return answer.status === 404 ? call.c.json({ error: 'There is nothing at this path.' }, 404) : answer
      },
    },
  ]
}

/** An app of its own, at the same paths. */
function within(app: Hono<AppEnv> | Hono): (visit: Visit) => Promise<Response> {
  return async ({ c }) => app.fetch(c.req.raw, c.env)
}
