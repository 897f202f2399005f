/**
 * Requests and tokens in a minute, and requests that are open at once: counted in this process. `shared-rates.ts`
 * counts them for several gateways.
 */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { Failure } from '../failure.ts'
import { waitMs } from './wait.ts'

export interface Rates {
  /**
   * Takes a place among what is open, a request and tokens: of each limit, or of none; but a request that is
   * refused counts, too. Throws a `Failure`: `rate_limited`, `unavailable`.
   */
  take(wanted: Wanted): Promise<Taken>
}

export interface Wanted {
  readonly open: readonly Limit[]
  readonly requests: readonly Limit[]
  readonly tokens: readonly Limit[]
  /** Tokens. */
  readonly points: number
}

export interface Limit {
  readonly subject: string
  readonly label: string
  readonly limit: number
}

export interface Taken {
  /** In the order of the limits. */
  readonly requests: readonly Left[]
  readonly tokens: readonly Left[]
  /**
   * The request is over. Only the first call counts.
   *
   * @param points tokens that were taken and not used; fewer than nought where more were
   */
  settle(points: number): void
}

export interface Left {
  readonly limit: number
  readonly remaining: number
  readonly msBeforeNext: number
}

const minute = 60

export function createRates(): Rates {
  const open = new Map<string, number>()
  /** One for each rate that there is, since a limiter has its points for all who use it. */
  const limiters = new Map<number, RateLimiterMemory>()
  const limiterOf = ({ limit }: Limit): RateLimiterMemory => {
    const known = limiters.get(limit)
    if (known) return known
    const made = new RateLimiterMemory({ points: limit, duration: minute })
    limiters.set(limit, made)
    return made
  }
  const takeOf = async (
    what: 'requests' | 'tokens',
    limit: Limit,
    points: number,
    /** Gets it also where it refuses. */
    taken: Limit[],
  ): Promise<Left> => {
    const state = await limiterOf(limit)
      .consume(`${what} ${limit.subject}`, points)
      .catch((refused: unknown) => refused)
    if (!(state instanceof RateLimiterRes)) throw state
    taken.push(limit)
    const { consumedPoints, remainingPoints } = state
    const msBeforeNext = waitMs(state, minute)
    if (consumedPoints > limit.limit) throw tooFast(what, limit, points, msBeforeNext)
    return { limit: limit.limit, remaining: remainingPoints, msBeforeNext }
  }
  /** More is taken where `points` are fewer than nought. */
  const giveBack = (limit: Limit, points: number): void => {
    if (points > 0) void limiterOf(limit).reward(`tokens ${limit.subject}`, points)
    if (points < 0) void limiterOf(limit).penalty(`tokens ${limit.subject}`, -points)
  }
  return {
    async take({ open: places, requests, tokens, points }) {
      const opened: string[] = []
      const taken: Limit[] = []
      let settled = false
      const settle = (unused: number): void => {
        if (settled) return
        settled = true
        for (const subject of opened) leave(open, subject)
        for (const limit of taken) giveBack(limit, unused)
      }
      try {
        for (const place of places) opened.push(enter(open, place))
        const ofRequests: Left[] = []
        const ofTokens: Left[] = []
        for (const limit of requests) ofRequests.push(await takeOf('requests', limit, 1, []))
        for (const limit of tokens) ofTokens.push(await takeOf('tokens', limit, points, taken))
        return { requests: ofRequests, tokens: ofTokens, settle }
      } catch (error) {
        settle(points)
        throw error
      }
    },
  }
}

export function tooFast(
  what: 'requests' | 'tokens',
  { label, limit }: Limit,
  points: number,
  msBeforeNext: number,
): Failure {
  const message =
    points > limit
      ? `This request may come to ${points} tokens, and the ${label} has ${limit} a minute. Ask for a shorter answer.`
      : `The ${label} has had its ${limit} ${what} for this minute.`
  return new Failure('rate_limited', message, undefined, {
    retryAfter: Math.max(1, Math.ceil(msBeforeNext / 1000)),
  })
}

export function tooMany({ label, limit }: Limit): Failure {
  return new Failure(
    'rate_limited',
    `The ${label} has ${limit} requests open, as many as it may.`,
    undefined,
    { retryAfter: 1 },
  )
}

/** Gives the subject, for `leave`. */
function enter(open: Map<string, number>, place: Limit): string {
  const count = (open.get(place.subject) ?? 0) + 1
  if (count > place.limit) throw tooMany(place)
  open.set(place.subject, count)
  return place.subject
}

function leave(open: Map<string, number>, subject: string): void {
  const count = (open.get(subject) ?? 1) - 1
  if (count === 0) open.delete(subject)
  else open.set(subject, count)
}
