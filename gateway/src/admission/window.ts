/** The windows that budgets are counted in. Days and months are UTC’s, so that every gateway has the same. */

export interface Windows {
  readonly tokensPerDay: string
  readonly tokensPerMonth: string
  readonly tokensInTotal: string
}

const dayMs = 86_400_000
let day = -1
let windows: Windows | undefined

/** By the part of an allowance that they limit: how each is called in the ledger now. */
export function windowsAt(now: number): Windows {
  const today = Math.floor(now / dayMs)
  if (windows && today === day) return windows
  day = today
  const date = new Date(now).toISOString()
  windows = {
    tokensPerDay: `day:${date.slice(0, 10)}`,
    tokensPerMonth: `month:${date.slice(0, 7)}`,
    tokensInTotal: 'total',
  }
  return windows
}
