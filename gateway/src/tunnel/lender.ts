/** The lender's end of the tunnel: dials out, answers what the gateway asks, and dials again when the path is lost. */
import { STATUS_CODES } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { Problem } from '@sotto/provisioning/problem.ts'
import { z } from 'zod'
import { parseJson } from '#engines/json.ts'
import type { Lending } from './allowed.ts'
import { createAnswerer, type Answerer } from './answer.ts'
import { createBackoff, type Backoff } from './backoff.ts'
import { dialTunnel, Refused } from './dial.ts'
import type { Closed, Link } from './link.ts'
import type { Offer } from './offer.ts'
import { closeCodes, tunnelPath } from './protocol.ts'

export interface LenderOptions {
  /** Of the gateway, or of its listener for tunnels: an origin. */
  readonly to: string
  readonly key: string
  /** PEM, where the gateway's authority is not trusted by this machine. */
  readonly ca?: string
  readonly name: string
  readonly lending: Lending
  readonly offer: Offer
  /** Called with each change of `state`. */
  changed?(status: LendStatus): void
  readonly backoff?: Backoff
  /** Between two pings, ms. */
  readonly pingEveryMs?: number
}

export interface LendStatus {
  readonly state: 'connecting' | 'connected' | 'waiting'
  /** Of the connection; null while there is none. */
  readonly since: string | null
  /** That were answered, or are. */
  readonly requests: number
  readonly running: number
  /** In the last seconds, over all answers. */
  readonly tokensPerSecond: number
  /** Null where nothing went wrong since the last connection. */
  readonly lastError: string | null
}

export interface RunningLender {
  readonly status: LendStatus
  /** Resolves at the first connection; rejects with a `Problem` where none will ever be. */
  readonly connected: Promise<void>
  close(): Promise<void>
}

/** Who was replaced by another machine of its name does not wrestle with it. */
const replacedWaitMs = 60_000

export function lend(options: LenderOptions): RunningLender {
  const { backoff = createBackoff(), changed, lending, offer } = options
  const stop = new AbortController()
  const meter = createMeter()
  const answerer = createAnswerer({ lending, offer, tally: meter })
  const seen: Pick<LendStatus, 'state' | 'since' | 'lastError'> & Record<string, unknown> = {
    state: 'connecting',
    since: null,
    lastError: null,
  }
  const status = (): LendStatus => ({
    state: seen.state,
    since: seen.since,
    requests: meter.requests,
    running: meter.running,
    tokensPerSecond: meter.rate(),
    lastError: seen.lastError,
  })
  const become = (now: Partial<Pick<LendStatus, 'state' | 'since' | 'lastError'>>): void => {
    Object.assign(seen, now)
    changed?.(status())
  }
  const first = Promise.withResolvers<void>()
  // Who does not ask for it is told by the status.
  first.promise.catch(() => {})
  let known = false
  /** Until the connection is over: how it ended. */
  const once = async (): Promise<Closed> => {
    const link = await dial(options, answerer, stop.signal)
    const leave = (): void => link.close(1000, 'The lender stops.')
    stop.signal.addEventListener('abort', leave, { once: true })
    known = true
    backoff.reset()
    become({ state: 'connected', since: new Date().toISOString(), lastError: null })
    first.resolve()
    const closed = await link.closed
    stop.signal.removeEventListener('abort', leave)
    return closed
  }
  const running = (async () => {
    while (!stop.signal.aborted) {
      let waitMs: number | undefined
      try {
        const { code, reason } = await once()
        if (stop.signal.aborted) break
        if (code === closeCodes.replaced) waitMs = replacedWaitMs
        become({ state: 'waiting', since: null, lastError: reason })
      } catch (error) {
        if (stop.signal.aborted) break
        // What is wrong from the beginning is not put right by waiting.
        if (error instanceof Problem && !known) return first.reject(error)
        if (error instanceof Problem) waitMs = replacedWaitMs
        become({
          state: 'waiting',
          since: null,
          lastError: error instanceof Error ? error.message : String(error),
        })
      }
      await pause(waitMs ?? backoff.next(), undefined, { signal: stop.signal }).catch(() => {})
      if (!stop.signal.aborted) become({ state: 'connecting' })
    }
    first.resolve()
  })()
  return {
    get status() {
      return status()
    },
    connected: first.promise,
    async close() {
      stop.abort()
      await running
      await answerer.close()
    },
  }
}

function dial(
  { to, key, ca, name, pingEveryMs }: LenderOptions,
  { accept }: Answerer,
  signal: AbortSignal,
): Promise<Link> {
  const url = new URL(tunnelPath, to)
  url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:'
  url.searchParams.set('name', name)
  const options = { accept, ...(pingEveryMs !== undefined && { pingEveryMs }) }
  return dialTunnel({ url, key, ca, ...options }, signal).catch((error: unknown) => {
    throw error instanceof Refused ? refusalOf(error) : dialProblem(error, to)
  })
}

const refusal = z.object({ error: z.object({ message: z.string() }) })

/** In the gateway's words; a `Problem` where the same request will be refused again. */
function refusalOf({ status, body }: Refused): Error {
  const read = refusal.safeParse(parseJson(body))
  const said = read.success
    ? read.data.error.message
    : `The gateway answered ${status} ${STATUS_CODES[status] ?? ''}.`
  if (status >= 500 || status === 429) return new Error(said)
  return new Problem(
    'lend_refused',
    said,
    status === 401 || status === 403
      ? 'Ask the gateway’s admin for a key that may lend: ./sotto key add NAME --services lend'
      : 'Look at what --to and --name say.',
  )
}

const untrusted =
  /^(?:SELF_SIGNED|DEPTH_ZERO_SELF_SIGNED|UNABLE_TO_(?:VERIFY|GET_ISSUER)|CERT_|ERR_TLS_CERT_ALTNAME)/

function dialProblem(error: unknown, to: string): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (!untrusted.test(code)) return error
  return new Problem(
    'lend_untrusted',
    `The certificate at ${to} is none that this machine trusts (${code}).`,
    'Give the gateway’s authority: --ca FILE, the file root.crt of ./sotto cert, or tunnel.crt for its public listener.',
    error,
  )
}

/** Seconds that count for the rate. */
const rateSeconds = 5

function createMeter() {
  let requests = 0
  let running = 0
  const seconds = new Map<number, number>()
  const now = () => Math.floor(performance.now() / 1000)
  return {
    get requests() {
      return requests
    },
    get running() {
      return running
    },
    rate() {
      const from = now() - rateSeconds
      let sum = 0
      for (const [second, count] of seconds)
        if (second >= from) sum += count
        else seconds.delete(second)
      return Math.round((sum / rateSeconds) * 10) / 10
    },
    began() {
      requests += 1
      running += 1
    },
    ended() {
      running -= 1
    },
    pieces(count: number) {
      const second = now()
      if (!seconds.has(second))
        for (const old of seconds.keys()) if (old < second - rateSeconds) seconds.delete(old)
      seconds.set(second, (seconds.get(second) ?? 0) + count)
    },
  }
}
