/** Chance that can be repeated: the same seed gives the same numbers. */

export interface Chance {
  /** From 0 to `below`, without it. */
  whole(below: number): number
  /** Whether what happens so often, from 0 to 1, happens now. */
  happens(often: number): boolean
  one<T>(of: readonly T[]): T | undefined
}

/** Mulberry32: 32 bits of state, good enough to choose by. */
export function createChance(seed: number): Chance {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d_2b_79_f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const whole = (below: number): number => Math.floor(next() * below)
  return { whole, happens: (often) => next() < often, one: (of) => of[whole(of.length)] }
}
