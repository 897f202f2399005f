/**
 * May they, now? The caller's scopes, then how many are open, requests and tokens per minute, and budgets. What
 * was taken for a request is given back when it settles, whatever its end was.
 */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { fullName } from '#protocol/model-name.ts'
import { noSuchModel } from '#engines/no-model.ts'
import type { Held, Member } from '#identity/caller.ts'
import { Failure } from '../failure.ts'
import type { Budgets, Reservation } from './budgets.ts'
import { waitMs } from './wait.ts'

export interface Wish {
  /** What it is for: one of the registry's `services`, or a service of the config by its name. */
  readonly service: string
  readonly model?: string
  /** It comes by a connection that was admitted already, and counts as open. */
  readonly connected?: boolean
  /** Tokens; left out where the request is not for any. */
  readonly tokens?: TokenWish
}

export interface TokenWish {
  /** Above what the input can come to. */
  readonly inputBound: number
  /** What it likely comes to. */
  readonly inputEstimate: number
  /** The most output that was asked for; undefined where nothing was. */
  readonly output: number | undefined
}

export interface Usage {
  readonly input: number
  readonly output: number
}

export interface Permit {
  /** Of the answer: `x-ratelimit-*`. */
  readonly headers: Readonly<Record<string, string>>
  /** The most that may be generated; undefined where nothing limits it. */
  readonly output: number | undefined
  /** Only the first call counts. */
  settle(usage: Usage): void
}

export interface Admission {
  /** Throws a `Failure`: `forbidden`, `not_found`, `rate_limited`, `quota`, `unavailable`. */
  admit(caller: Member, wish: Wish): Promise<Permit>
  /** Whether the caller may use a model at all; what it may not use does not exist for it. */
  mayUse(caller: Member, model: string): boolean
}

/** An answer's length where neither the caller nor the admin says one: a long one of a chat. */
export const defaultOutputTokens = 4_096

const minute = 60

export function createAdmission(budgets: Budgets): Admission {
  const open = new Map<string, number>()
  /** One for each rate that there is, since a limiter has its points for all who use it. */
  const limiters = new Map<number, RateLimiterMemory>()
  const limiter = (points: number): RateLimiterMemory => {
    const known = limiters.get(points)
    if (known) return known
    const made = new RateLimiterMemory({ points, duration: minute })
    limiters.set(points, made)
    return made
  }
  const rateOf = ({ subject, label }: Held, what: Rate['what'], limit: number | null): Rate[] =>
    limit === null ? [] : [{ what, name: `${what} ${subject}`, label, limit, limiter: limiter(limit) }]
  /** What holds a caller stays the same from request to request, until the admin changes it. */
  const known = new WeakMap<readonly Held[], Terms>()
  const termsOf = ({ held }: Member): Terms => {
    const found = known.get(held)
    if (found) return found
    const made: Terms = {
      requests: held.flatMap((one) => rateOf(one, 'requests', one.requestsPerMinute)),
      tokens: held.flatMap((one) => rateOf(one, 'tokens', one.tokensPerMinute)),
      concurrent: held.filter((one) => one.concurrent !== null),
      models: held.flatMap(({ models }) => (models === null ? [] : [models.map(expressionOf)])),
      limitsTokens: held.some(
        (one) => one.tokensPerMinute ?? one.tokensPerDay ?? one.tokensPerMonth ?? one.tokensInTotal,
      ),
    }
    known.set(held, made)
    return made
  }

  /** @param taken gets each that was taken from, also where a later one refuses */
  const take = async (
    rates: readonly Rate[],
    points: number,
    headers: Record<string, string>,
    taken: Rate[],
  ): Promise<void> => {
    let tightest = Infinity
    for (const rate of rates) {
      const state = await rate.limiter.consume(rate.name, points).catch((refused: unknown) => refused)
      if (!(state instanceof RateLimiterRes)) throw state
      taken.push(rate)
      if (state.consumedPoints > rate.limit) throw tooFast(rate, points, state)
      const left = state.remainingPoints / rate.limit
      if (left < tightest) Object.assign(headers, rateHeaders(rate, state))
      tightest = Math.min(tightest, left)
    }
  }
  const mayUse = (caller: Member, model: string): boolean =>
    termsOf(caller).models.every((list) => list.some((one) => one.test(fullName(model))))

  return {
    mayUse,
    async admit(caller, { service, model, connected = false, tokens }) {
      requireService(caller, service)
      if (model !== undefined && !mayUse(caller, model)) throw noSuchModel(model)
      if (caller.held.length === 0) return { headers: none, output: tokens?.output, settle() {} }
      const terms = termsOf(caller)
      const opened: string[] = []
      const taken: Rate[] = []
      const output = tokens && (tokens.output ?? (terms.limitsTokens ? defaultOutputTokens : undefined))
      const estimate = (tokens?.inputEstimate ?? 0) + (output ?? 0)
      const headers: Record<string, string> = {}
      try {
        if (!connected) for (const one of terms.concurrent) opened.push(enter(open, one))
        await take(terms.requests, 1, headers, [])
        let reservation: Reservation | undefined
        if (tokens) {
          await take(terms.tokens, estimate, headers, taken)
          const least = tokens.inputBound + (tokens.output ?? 1)
          reservation = await budgets.reserve(caller.held, least, tokens.inputBound + (output ?? 0))
        }
        let settled = false
        return {
          headers,
          output:
            reservation && tokens && terms.limitsTokens ? reservation.tokens - tokens.inputBound : output,
          settle({ input, output: made }) {
            if (settled) return
            settled = true
            reservation?.settle(input + made)
            for (const subject of opened) leave(open, subject)
            // What was taken for its tokens was an estimate.
            for (const rate of taken) giveBack(rate, estimate - input - made)
          },
        }
      } catch (error) {
        for (const subject of opened) leave(open, subject)
        for (const rate of taken) giveBack(rate, estimate)
        throw error
      }
    },
  }
}

/** Throws a `Failure` for a caller whose key, device or tenant is held to other services. */
export function requireService({ held }: Member, service: string): void {
  const closed = held.find(({ services }) => services !== null && !services.includes(service))
  if (closed)
    throw new Failure('forbidden', `The ${closed.label} may not use ${service}. Ask the admin for it.`)
}

/** What holds a caller, as it is asked for. */
interface Terms {
  readonly requests: readonly Rate[]
  readonly tokens: readonly Rate[]
  readonly concurrent: readonly Held[]
  /** Of each that limits them, what matches those that may be used. */
  readonly models: readonly (readonly RegExp[])[]
  readonly limitsTokens: boolean
}

const none: Readonly<Record<string, string>> = {}

interface Rate {
  readonly what: 'requests' | 'tokens'
  /** In its limiter. */
  readonly name: string
  readonly label: string
  readonly limit: number
  readonly limiter: RateLimiterMemory
}

/** More than was taken where `points` are fewer than nought. */
function giveBack({ limiter, name }: Rate, points: number): void {
  if (points > 0) void limiter.reward(name, points)
  if (points < 0) void limiter.penalty(name, -points)
}

/** As OpenAI writes them: what is left, and when it is whole again. */
function rateHeaders({ what, limit }: Rate, state: RateLimiterRes): Record<string, string> {
  const remaining = String(Math.max(0, state.remainingPoints))
  const reset = `${Math.ceil(waitMs(state, minute) / 1000)}s`
  return what === 'requests'
    ? {
        'x-ratelimit-limit-requests': String(limit),
        'x-ratelimit-remaining-requests': remaining,
        'x-ratelimit-reset-requests': reset,
      }
    : {
        'x-ratelimit-limit-tokens': String(limit),
        'x-ratelimit-remaining-tokens': remaining,
        'x-ratelimit-reset-tokens': reset,
      }
}

function tooFast(rate: Rate, points: number, state: RateLimiterRes): Failure {
  const message =
    points > rate.limit
      ? `This request may come to ${points} tokens, and the ${rate.label} has ${rate.limit} a minute. Ask for a shorter answer.`
      : `The ${rate.label} has had its ${rate.limit} ${rate.what} for this minute.`
  return new Failure('rate_limited', message, undefined, {
    retryAfter: Math.max(1, Math.ceil(waitMs(state, minute) / 1000)),
  })
}

/**
 * `*` stands for any text but an `@`, so that what was allowed of the house lets no prompt out to a friend's: for
 * theirs there is `*@ada`. A name without a tag means its `latest`.
 */
function expressionOf(pattern: string): RegExp {
  const full = pattern.includes('*') ? pattern : fullName(pattern)
  return new RegExp(`^${full.split('*').map(RegExp.escape).join('[^@]*')}$`, 'i')
}

/** Gives the subject, for `leave`. */
function enter(open: Map<string, number>, { subject, label, concurrent }: Held): string {
  const count = (open.get(subject) ?? 0) + 1
  if (concurrent !== null && count > concurrent)
    throw new Failure(
      'rate_limited',
      `The ${label} has ${concurrent} requests open, as many as it may.`,
      undefined,
      { retryAfter: 1 },
    )
  open.set(subject, count)
  return subject
}

function leave(open: Map<string, number>, subject: string): void {
  const count = (open.get(subject) ?? 1) - 1
  if (count === 0) open.delete(subject)
  else open.set(subject, count)
}
