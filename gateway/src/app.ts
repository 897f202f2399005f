/** The HTTP side as one app: who may ask, then the dialects, the health page, the CA and the web app. */
import { Hono } from 'hono'
import type { Logger } from 'pino'
import { createApi } from '#api/api.ts'
import { createOverlayApi, type OverlayDeps } from '#api/overlay.ts'
import type { Engines } from '#engines/engine.ts'
import type { AppEnv } from '#identity/app-env.ts'
import type { Directory } from '#identity/directory.ts'
import { createEnrol, createPlain, type EnrolDeps } from '#listener/enrol.ts'
import { checkOrigin, type OwnNames } from '#listener/origin.ts'
import { createWeb } from '#listener/web.ts'

export interface AppDeps {
  readonly directory: Directory
  readonly engines: Engines
  readonly overlay: OverlayDeps
  /** Known once the port is. */
  names(): OwnNames
  readonly enrol: EnrolDeps
  /** What `nuxt generate` made. */
  readonly web: string
  readonly log: Logger
}

/** What a device needs that is not in yet. */
const guestPaths = new Set(['/sotto/enrolment', '/enrol', '/ca.crt', '/ca.mobileconfig'])

export function createApp(deps: AppDeps): Hono<AppEnv> {
  const app = guarded(deps)
  app.route('/', createEnrol(deps.enrol))
  app.route('/', createApi({ engines: deps.engines, log: deps.log }))
  app.route('/', createOverlayApi(deps.overlay))
  app.route('/', createWeb(deps.web))
  app.notFound((c) => c.json({ error: 'There is nothing at this path.' }, 404))
  app.onError((error, c) => {
    deps.log.error({ err: error, path: c.req.path }, 'a request failed')
    return c.json({ error: 'The gateway failed at this request. Its log says why.' }, 500)
  })
  return app
}

/** For a device that does not trust us yet: what comes without TLS. */
export function createPlainApp(deps: Pick<AppDeps, 'directory' | 'names' | 'enrol'>): Hono<AppEnv> {
  return guarded(deps).route('/', createPlain(createEnrol(deps.enrol)))
}

/** Who may ask at all. */
function guarded({ directory, names }: Pick<AppDeps, 'directory' | 'names'>): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  app.use(async (c, next) => {
    const verdict = checkOrigin(names(), c.req.header('host'), c.req.header('origin'))
    if (!verdict.allow) return c.json({ error: verdict.message }, verdict.status)
    const caller = directory.identify(c.env.incoming.socket.remoteAddress)
    if (!caller) return c.json({ error: 'This address is no device of this network.' }, 403)
    if (caller.kind === 'guest' && !guestPaths.has(c.req.path))
      return c.json({ error: 'A one-time link lets a device enrol, and nothing else.' }, 403)
    c.set('caller', caller)
    return next()
  })
  return app
}
