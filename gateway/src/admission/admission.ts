/**
 * May they, now? The caller's scopes, then how many are open, requests and tokens per minute, and budgets. What
 * was taken for a request is given back when it settles, whatever its end was.
 */
import { fullName } from '#protocol/model-name.ts'
import { noSuchModel } from '#engines/no-model.ts'
import type { Held, Member } from '#identity/caller.ts'
import { Failure } from '../failure.ts'
import type { Budgets } from './budgets.ts'
import type { Left, Limit, Rates } from './rates.ts'

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

export function createAdmission(budgets: Budgets, rates: Rates): Admission {
  /** What holds a caller stays the same from request to request, until the admin changes it. */
  const known = new WeakMap<readonly Held[], Terms>()
  const termsOf = ({ held }: Member): Terms => {
    const found = known.get(held)
    if (found) return found
    const made: Terms = {
      requests: held.flatMap((one) => limitOf(one, one.requestsPerMinute)),
      tokens: held.flatMap((one) => limitOf(one, one.tokensPerMinute)),
      concurrent: held.flatMap((one) => limitOf(one, one.concurrent)),
      models: held.flatMap(({ models }) => (models === null ? [] : [models.map(expressionOf)])),
      limitsTokens: held.some(
        (one) => one.tokensPerMinute ?? one.tokensPerDay ?? one.tokensPerMonth ?? one.tokensInTotal,
      ),
    }
    known.set(held, made)
    return made
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
      const output = tokens && (tokens.output ?? (terms.limitsTokens ? defaultOutputTokens : undefined))
      const estimate = (tokens?.inputEstimate ?? 0) + (output ?? 0)
      const taken = await rates.take({
        open: connected ? [] : terms.concurrent,
        requests: terms.requests,
        tokens: tokens ? terms.tokens : [],
        points: estimate,
      })
      try {
        const reservation =
          tokens &&
          (await budgets.reserve(
            caller.held,
            tokens.inputBound + (tokens.output ?? 1),
            tokens.inputBound + (output ?? 0),
          ))
        return {
          headers: { ...rateHeaders('requests', taken.requests), ...rateHeaders('tokens', taken.tokens) },
          output:
            reservation && tokens && terms.limitsTokens ? reservation.tokens - tokens.inputBound : output,
          settle({ input, output: made }) {
            reservation?.settle(input + made)
            // What was taken for its tokens was an estimate.
            taken.settle(estimate - input - made)
          },
        }
      } catch (error) {
        taken.settle(estimate)
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
  readonly requests: readonly Limit[]
  readonly tokens: readonly Limit[]
  readonly concurrent: readonly Limit[]
  /** Of each that limits them, what matches those that may be used. */
  readonly models: readonly (readonly RegExp[])[]
  readonly limitsTokens: boolean
}

const none: Readonly<Record<string, string>> = {}

function limitOf({ subject, label }: Held, limit: number | null): Limit[] {
  return limit === null ? [] : [{ subject, label, limit }]
}

/** As OpenAI writes them, of the limit that has the least left: how much, and when it is whole again. */
function rateHeaders(what: 'requests' | 'tokens', all: readonly Left[]): Record<string, string> {
  const [first, ...rest] = all
  if (!first) return {}
  const { limit, remaining, msBeforeNext } = rest.reduce(
    (least, one) => (one.remaining / one.limit < least.remaining / least.limit ? one : least),
    first,
  )
  return {
    [`x-ratelimit-limit-${what}`]: String(limit),
    [`x-ratelimit-remaining-${what}`]: String(Math.max(0, remaining)),
    [`x-ratelimit-reset-${what}`]: `${Math.ceil(msBeforeNext / 1000)}s`,
  }
}

/**
 * `*` stands for any text but an `@`, so that what was allowed of the house lets no prompt out to a friend's: for
 * theirs there is `*@ada`. A name without a tag means its `latest`.
 */
function expressionOf(pattern: string): RegExp {
  const full = pattern.includes('*') ? pattern : fullName(pattern)
  return new RegExp(`^${full.split('*').map(RegExp.escape).join('[^@]*')}$`, 'i')
}
