/** Budgets and what is left of them. */
import type { Limits, LimitStatus } from '@sotto/gateway/protocol/admin.ts'

export interface Budget {
  readonly part: 'tokensPerDay' | 'tokensPerMonth' | 'tokensInTotal'
  readonly spent: number
  readonly limit: number
  readonly level: Level
}

/** From four fifths of it a person may still do something. */
export type Level = 'fine' | 'near' | 'over'

/** How full something is: near from four fifths, over when it is all taken. */
function levelOf(taken: number, limit: number): Level {
  if (taken >= limit) return 'over'
  return taken >= limit * 0.8 ? 'near' : 'fine'
}

export function budgetsOf({ limits, spent }: Pick<LimitStatus, 'limits' | 'spent'>): Budget[] {
  const parts = [
    ['tokensPerDay', spent.day],
    ['tokensPerMonth', spent.month],
    ['tokensInTotal', spent.total],
  ] as const
  return parts.flatMap(([part, taken]) => {
    const limit = limits[part]
    return limit === null ? [] : [{ part, spent: taken, limit, level: levelOf(taken, limit) }]
  })
}

/** Whether it holds anything back. */
export function limitsAnything(limits: Limits): boolean {
  return Object.values(limits).some((part) => part !== null)
}

/** `key:backup script` → what it is, and its name. */
export function partyOf(party: string): {
  readonly kind: 'tenant' | 'key' | 'device'
  readonly name: string
} {
  const [, kind, name = party] = /^(key|device):(.+)$/s.exec(party) ?? []
  if (kind === 'key' || kind === 'device') return { kind, name }
  return { kind: 'tenant', name: party.replace(/^tenant:/, '') }
}
