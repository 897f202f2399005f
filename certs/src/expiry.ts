/** What ends soon, said early: a CA that ends unseen breaks every device at once. */
import type { Authority } from './authority.ts'

export interface ExpiryWarning {
  readonly what: 'root' | 'intermediate' | 'leaf'
  readonly notAfter: Date
  readonly daysLeft: number
  readonly remedy: string
}

const dayMs = 86_400_000
/** Replacing a root takes a hand on every device, and some are not seen for months. */
const caWarningMs = 365 * dayMs

/** @param leaf the one in use; it renews by itself, so only one that did not is worth a word */
export function expiryWarnings(
  authority: Pick<Authority, 'rootNotAfter' | 'intermediateNotAfter'>,
  leaf: { readonly notAfter: Date; readonly renewAt: Date } | undefined,
  now: Date = new Date(),
): ExpiryWarning[] {
  const warn = (what: ExpiryWarning['what'], notAfter: Date, remedy: string): ExpiryWarning => ({
    what,
    notAfter,
    daysLeft: Math.floor((notAfter.getTime() - now.getTime()) / dayMs),
    remedy,
  })
  const { rootNotAfter, intermediateNotAfter } = authority
  const warnings: ExpiryWarning[] = []
  if (isNear(rootNotAfter, caWarningMs, now))
    warnings.push(warn('root', rootNotAfter, 'Begin a roll-over: ./sotto cert rollover'))
  if (isNear(intermediateNotAfter, caWarningMs, now) && intermediateNotAfter < rootNotAfter)
    warnings.push(warn('intermediate', intermediateNotAfter, 'Renew it: ./sotto cert renew'))
  // A tenth of its life past the time for renewal: a gateway that runs would have done it.
  if (leaf && now.getTime() > leaf.renewAt.getTime() + 9 * dayMs)
    warnings.push(
      warn('leaf', leaf.notAfter, 'Start the gateway: it issues a new one. If it runs, see its log.'),
    )
  return warnings
}

function isNear(end: Date, withinMs: number, now: Date): boolean {
  return end.getTime() - now.getTime() < withinMs
}
