/** The HTTP side as one app: every route with its group, from the dialects to the web app. */
import { isLender } from '@sotto/provisioning/registry/lender.ts'
import { Hono } from 'hono'
import type { Registry } from 'prom-client'
import { accountRoutes } from '#api/account/account.ts'
import type { AccountDeps } from '#api/account/deps.ts'
import { accountPath } from '#api/account/own.ts'
import { adminRoutes, type AdminDeps } from '#api/admin/admin.ts'
import { anthropicRoutes } from '#api/anthropic.ts'
import { conversationRoutes } from '#api/conversations.ts'
import { ollamaDialect } from '#api/envelope.ts'
import { healthRoutes } from '#api/health.ts'
import { lentRoutes } from '#api/lent.ts'
import { mediaRoutes, type MediaDeps } from '#api/media.ts'
import { meRoute } from '#api/me.ts'
import { ollamaRoutes } from '#api/ollama.ts'
import { openAiElsewhere, openAiRoutes } from '#api/openai.ts'
import { openApiRoute } from '#api/openapi.ts'
import { overlayRoutes, type OverlayDeps } from '#api/overlay.ts'
import { roomRoutes } from '#api/rooms.ts'
import { corsOf, register, type Route, type RouteDeps, type Visit } from '#api/route.ts'
import { serviceRoutes, type Service } from '#api/services.ts'
import { relayRoutes } from '#federation/relay-http.ts'
import type { Relay } from '#federation/relay.ts'
import type { Conversations } from '#conversations/conversations.ts'
import type { AppEnv } from '#identity/app-env.ts'
import { strangers } from '#identity/identify.ts'
import { createEnrol, createPlain, enrolPaths, type EnrolDeps } from '#listener/enrol.ts'
import { createWeb, wantsPage } from '#listener/web.ts'
import type { Rooms } from '#rooms/rooms.ts'
import type { Hub } from '#tunnel/hub.ts'

export interface AppDeps extends RouteDeps {
  readonly api: MediaDeps
  readonly services: readonly Service[]
  readonly overlay: Omit<OverlayDeps, 'metrics'>
  readonly admin: Pick<AdminDeps, 'facts' | 'certs' | 'aliases' | 'reports' | 'spent' | 'relayAddresses'>
  readonly accounts: Pick<AccountDeps, 'accounts' | 'guards' | 'lendTo' | 'ca' | 'forget'> & {
    readonly outside: string | undefined
  }
  readonly conversations: Conversations
  readonly rooms: Rooms
  readonly hub: Pick<Hub, 'find'>
  readonly relay: Pick<Relay, 'meshes'>
  readonly federation: AdminDeps['federation']
  readonly sharing: AdminDeps['sharing']
  readonly metrics: Registry
  /** Whether records can be written. */
  ready(): boolean
  /** Whether Valkey is there; undefined where there is none. */
  valkey(): boolean | undefined
  /** How many other gateways count there; undefined where there is no Valkey. */
  neighbours(): number | undefined
  readonly enrol: EnrolDeps
  /** What `nuxt generate` made. */
  readonly web: string
}

export function createApp(deps: AppDeps): Hono<AppEnv> {
  const models = [...openAiRoutes(deps.api), ...mediaRoutes(deps.api), ...anthropicRoutes(deps.api)]
  const native = ollamaRoutes(deps.api)
  const { engines, speech, images } = deps.api
  const { accounts, services, overlay, hub, relay, federation, sharing } = deps
  const admin = {
    ...deps.admin,
    ...overlay,
    engines,
    speech,
    images,
    services,
    hub,
    relay,
    federation,
    sharing,
    mail: accounts.accounts.mail,
    outside: accounts.outside,
  }
  const documented = [
    ...healthRoutes({
      engines,
      ready: deps.ready,
      connected: () => relay.meshes.length,
      valkey: deps.valkey,
      troubles: () => admin.facts().troubles,
      neighbours: deps.neighbours,
    }),
    ...models,
    ...native,
    ...serviceRoutes(deps.services, deps.api),
    ...lentRoutes({
      api: deps.api,
      hub,
      isKnown: (person, name) => isLender(overlay.database, person, name),
    }),
    ...relayRoutes({ database: overlay.database, self: federation.self, follow: overlay.follow }),
    ...conversationRoutes(deps.conversations),
    ...roomRoutes(deps),
    ...overlayRoutes({ ...deps.overlay, metrics: deps.metrics }),
    meRoute(admin),
    ...accountRoutes(accountDepsOf(deps)),
    ...adminRoutes(admin),
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

function accountDepsOf({ accounts, admin, api, conversations, hub, overlay, services }: AppDeps) {
  const { admission, engines } = api
  const { reports, spent } = admin
  const { database, follow } = overlay
  return {
    ...accounts,
    admission,
    conversations,
    database,
    engines,
    follow,
    hub,
    reports,
    services,
    spent,
    programs: true,
  } satisfies AccountDeps
}

/** For people who are not on the overlay: the account's page, its parts and what it asks for. */
export function createOutsideApp(deps: AppDeps): Hono<AppEnv> {
  const web = createWeb(deps.web)
  const app = new Hono<AppEnv>()
  register(app, accountRoutes({ ...accountDepsOf(deps), programs: false }), { ...deps, identity: strangers })
  // They say nothing of anybody; a row for each that is missing would let the world fill the ledger.
  for (const path of outsidePages) app.get(path, ({ req, env }) => web.fetch(req.raw, env))
  app.notFound((c) => c.body(null, 404))
  return app
}

const outsidePages = ['/account', '/_nuxt/*', '/favicon.svg'] as const

/** How much of its patience a stranger's request takes; undefined for what is not for strangers at all. */
export function costOutside(path: string): number | undefined {
  if (path === accountPath || path.startsWith(`${accountPath}/`)) return 3
  const isPage = outsidePages.some((one) =>
    one.endsWith('*') ? path.startsWith(one.slice(0, -1)) : path === one,
  )
  return isPage ? 1 : undefined
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
  return enrolPaths.map((path) => ({
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
      'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE, OPTIONS',
      'access-control-allow-headers': c.req.header('access-control-request-headers') ?? '',
      'access-control-max-age': '600',
      ...corsOf(outgoing),
    }),
}

function pages(web: Hono): Route[] {
  const page = { group: 'member', dialect: ollamaDialect, quiet: true } as const
  const asPage = within(web)
  // The page by which a device enrols, and its parts: they say nothing of anybody.
  const forGuests = ['/link', '/_nuxt/*', '/favicon.svg'].map((path): Route => {
    return { ...page, group: 'guest', method: 'GET', path, visit: asPage }
  })
  return [
    ...forGuests,
    {
      ...page,
      method: 'GET',
      path: '/',
      // Ollama's clients ask here whether it runs; a browser wants the page.
      handle: (call) => (wantsPage(call.c.req.raw) ? asPage(call) : call.c.text('Ollama is running')),
    },
    {
      ...page,
      method: 'ALL',
      path: '*',
      async handle(call) {
        const answer = await asPage(call)
        return answer.status === 404 && !wantsPage(call.c.req.raw)
          ? call.c.json({ error: 'There is nothing at this path.' }, 404)
          : answer
      },
    },
  ]
}

/** An app of its own, at the same paths. */
function within(app: Hono<AppEnv> | Hono): (visit: Visit) => Promise<Response> {
  return async ({ c }) => app.fetch(c.req.raw, c.env)
}
