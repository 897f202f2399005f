/** Requests and tokens in a minute, and requests that are open at once: counted in Valkey, for several gateways. */
import { keyOf, type Valkey } from '#valkey/valkey.ts'
import { tooFast, tooMany, type Left, type Limit, type Rates } from './rates.ts'

export function createSharedRates(valkey: Valkey): Rates {
  /** By key, what this process has open. */
  const open = new Map<string, number>()
  const count = (key: string, by: number): void => {
    const left = (open.get(key) ?? 0) + by
    if (left > 0) open.set(key, left)
    else open.delete(key)
  }
  valkey.keep(() => [...open.keys()])
  valkey.onConnect(async (run) => {
    if (open.size > 0) await run('open', [...open.keys()], [...open.values()])
  })
  return {
    async take({ open: places, requests, tokens, points }) {
      const limits = [...places, ...requests, ...tokens]
      if (limits.length === 0) return { requests: [], tokens: [], settle() {} }
      const placeKeys = places.map(({ subject }) => keyOf('open', subject))
      const tokenKeys = tokens.map(({ subject }) => keyOf('tokens', subject))
      const [verdict, ...said] = await valkey.run(
        'take',
        [...placeKeys, ...requests.map(({ subject }) => keyOf('requests', subject)), ...tokenKeys],
        [places.length, requests.length, tokens.length, points, ...limits.map(({ limit }) => limit)],
      )
      const numbers = said.map(Number)
      if (verdict === 'refused') {
        const [at = 1, msBeforeNext = 0] = numbers
        const limit = limits[at - 1]
        if (limit && at <= places.length) throw tooMany(limit)
        const ofTokens = at > places.length + requests.length
        if (limit) throw tooFast(ofTokens ? 'tokens' : 'requests', limit, ofTokens ? points : 1, msBeforeNext)
      }
      for (const key of placeKeys) count(key, 1)
      const left = ({ limit }: Limit, at: number): Left => ({
        limit,
        remaining: Math.max(0, limit - (numbers[2 * at] ?? 0)),
        msBeforeNext: numbers[2 * at + 1] ?? 0,
      })
      let settled = false
      return {
        requests: requests.map(left),
        tokens: tokens.map((limit, at) => left(limit, requests.length + at)),
        settle(unused) {
          if (settled) return
          settled = true
          for (const key of placeKeys) count(key, -1)
          valkey.tell('settle', [...tokenKeys, ...placeKeys], [unused, tokenKeys.length])
        },
      }
    },
  }
}
