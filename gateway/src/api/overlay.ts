/** The network itself over HTTP: enrolling by a link, a joined device's part in it, and how devices are. */
import type { Database } from '@sotto/provisioning/database.ts'
import { redeem } from '@sotto/provisioning/enrolment/enrol.ts'
import type { Exchange } from '@sotto/provisioning/enrolment/exchange.ts'
import { isKey } from '@sotto/provisioning/overlay/keys.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import { requireNetwork } from '@sotto/provisioning/registry/network.ts'
import { recordPaths } from '@sotto/provisioning/registry/path.ts'
import { viewDevices } from '@sotto/provisioning/registry/view.ts'
import type { Context } from 'hono'
import type { Registry } from 'prom-client'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { z } from 'zod'
import type { DeviceList } from '#protocol/devices.ts'
import { readJson } from './body.ts'
import { ownDialect } from './envelope.ts'
import { renderMetrics } from './metrics.ts'
import type { Call, Route, Visit } from './route.ts'

export interface OverlayDeps {
  readonly database: Database
  readonly exchange: Exchange
  /** Brings the live interface in step with the registry now, rather than at the next look. */
  follow(): Promise<unknown>
  /** Of requests. */
  readonly metrics: Registry
}

const key = z.string().refine(isKey, 'is no WireGuard key: 32 bytes in base64')
const enrolment = z.object({
  token: z.string().max(200),
  publicKey: key.optional(),
  directKey: key.optional(),
})
const endpoint = z
  .string()
  .max(64)
  .regex(/^(\d+(\.\d+){3}|\[[0-9a-f:]+\]):\d{1,5}$/)
const report = z.object({
  candidates: z.array(endpoint).max(16),
  paths: z
    .array(
      z.object({
        peerId: z.string().max(64),
        state: z.enum(['direct', 'probing', 'relayed']),
        reason: z.string().max(400).nullable(),
      }),
    )
    .max(1_000),
})

/** A wait that a proxy or a NAT on the way does not yet take for dead. */
const longestWaitMs = 25_000

const statuses: Record<string, 400 | 404 | 409 | 410 | 503> = {
  link_unknown: 404,
  link_used: 410,
  link_expired: 410,
  device_exists: 409,
  device_key_used: 409,
  addresses_exhausted: 409,
  no_endpoint: 503,
}

export function overlayRoutes({ database, exchange, follow, metrics }: OverlayDeps): Route[] {
  // Wrong tokens alone count: 256 bits are not guessed, but nobody shall try for free.
  const perAddress = new RateLimiterMemory({ points: 10, duration: 60 })
  const together = new RateLimiterMemory({ points: 100, duration: 60 })

  const enrolBy = async ({ c, incoming }: Visit): Promise<Response> => {
    const address = c.env.incoming.socket.remoteAddress ?? ''
    const spent = await Promise.all([perAddress.get(address), together.get('all')])
    const full = spent.find((state) => state !== null && state.remainingPoints <= 0)
    if (full) return refuseBusy(c, full)
    const wish = enrolment.safeParse(await readJson(incoming))
    if (!wish.success) return refuse(c, 400, invalid(wish.error))
    const { token, publicKey, directKey } = wish.data
    try {
      const { device, config, keyMadeHere } = await redeem(database, await requireNetwork(database), {
        token,
        ...(publicKey !== undefined && { publicKey }),
        ...(directKey !== undefined && { directKey }),
      })
      await follow()
      const { id, name, address4, address6 } = device
      return c.json(
        { device: { id, name, address4, address6 }, config, keyMadeHere, network: exchange.view(id) ?? null },
        201,
        { 'Cache-Control': 'no-store' },
      )
    } catch (error) {
      if (!(error instanceof Problem) || error.code === 'database_away') throw error
      if (error.code.startsWith('link_'))
        await Promise.all([perAddress.consume(address), together.consume('all')]).catch(ignoreLimit)
      return refuse(c, statuses[error.code] ?? 400, error)
    }
  }

  const network = async ({ c, caller: { deviceId } }: Call): Promise<Response> => {
    const version = c.req.query('after') ?? ''
    const wait = AbortSignal.any([AbortSignal.timeout(longestWaitMs), c.req.raw.signal])
    const view = deviceId === undefined ? undefined : await exchange.changed(deviceId, version, wait)
    return view ? c.json(view, 200, { 'Cache-Control': 'no-store' }) : refuse(c, 404, notJoined)
  }

  const paths = async ({ c, incoming, caller: { deviceId } }: Call): Promise<Response> => {
    const view = deviceId === undefined ? undefined : exchange.view(deviceId)
    if (!view) return refuse(c, 404, notJoined)
    const told = report.safeParse(await readJson(incoming))
    if (!told.success) return refuse(c, 400, invalid(told.error))
    const known = new Set(view.peers.map(({ id }) => id))
    exchange.offer(view.self.id, told.data.candidates)
    await recordPaths(
      database,
      view.self.id,
      told.data.paths.filter(({ peerId }) => known.has(peerId)),
    )
    return c.body(null, 204)
  }

  const devices = async ({ c, caller: { admin, personId } }: Call): Promise<Response> => {
    const seen = (await viewDevices(database)).filter((device) => admin || device.personId === personId)
    return c.json({ devices: seen } satisfies DeviceList, 200, { 'Cache-Control': 'no-store' })
  }

  const measures = async ({ c }: Call): Promise<Response> => {
    const peers = await renderMetrics(await viewDevices(database))
    return c.body(`${await metrics.metrics()}\n${peers}`, 200, { 'Content-Type': metrics.contentType })
  }
  const route = { dialect: ownDialect } as const
  return [
    { ...route, group: 'guest', method: 'POST', path: '/sotto/enrolment', visit: enrolBy },
    { ...route, group: 'member', method: 'GET', path: '/sotto/network', quiet: true, handle: network },
    { ...route, group: 'member', method: 'POST', path: '/sotto/paths', quiet: true, handle: paths },
    { ...route, group: 'member', method: 'GET', path: '/sotto/devices', quiet: true, handle: devices },
    {
      ...route,
      group: 'admin',
      method: 'GET',
      path: '/metrics',
      summary: 'What Prometheus reads; for the admin’s devices',
      quiet: true,
      handle: measures,
    },
  ]
}

type Refusal = Pick<Problem, 'code' | 'message' | 'remedy'>

const notJoined: Refusal = {
  code: 'not_joined',
  message: 'This is for devices that run `sotto join`.',
  remedy: 'Make a link for it: ./sotto device add NAME --link',
}

function refuse(c: Context, status: 400 | 404 | 409 | 410 | 503, refusal: Refusal): Response {
  const { code, message, remedy } = refusal
  return c.json({ error: { code, message, remedy } }, status)
}

function refuseBusy(c: Context, { msBeforeNext }: RateLimiterRes): Response {
  const seconds = Math.ceil(msBeforeNext / 1000)
  const message = 'Too many links that are none were tried.'
  return c.json({ error: { code: 'rate_limited', message, remedy: `Try again in ${seconds} s.` } }, 429, {
    'Retry-After': String(seconds),
  })
}

function invalid(error: z.ZodError): Refusal {
  const [issue] = error.issues
  const field = issue?.path.join('.') ?? ''
  return {
    code: 'invalid',
    message: `${field || 'The body'}: ${issue?.message}.`,
    remedy: 'Send JSON as documented.',
  }
}

/** At its limit the limiter rejects with its state, and that state is what the next call meets. */
function ignoreLimit(reason: unknown): void {
  if (!(reason instanceof RateLimiterRes)) throw reason
}
