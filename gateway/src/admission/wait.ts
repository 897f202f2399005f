import type { RateLimiterRes } from 'rate-limiter-flexible'

/**
 * Milliseconds until a limiter has points again. It reckons by the clock of the wall, though its windows end by one
 * that nobody sets: where that was set back meanwhile, a day's wait would be told for a minute's.
 */
export function waitMs(
  { msBeforeNext }: Pick<RateLimiterRes, 'msBeforeNext'>,
  windowSeconds: number,
): number {
  return Math.min(msBeforeNext, windowSeconds * 1_000)
}
