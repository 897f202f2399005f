/** Time that passes when a test says so. */
import type { Clock } from './clock.ts'

export interface SimulatedClock extends Clock {
  /** Lets so many milliseconds pass, with all that is due in them and all that follows from it at once. */
  advance(ms: number): Promise<void>
}

export function createSimulatedClock(start = Date.parse('2026-11-21T00:00:00Z')): SimulatedClock {
  let now = start
  let last = 0
  const due = new Map<number, { readonly at: number; readonly task: () => void }>()
  const settled = () => new Promise<void>((settle) => setImmediate(settle))
  const next = (until: number) => {
    let found: { readonly id: number; readonly at: number; readonly task: () => void } | undefined
    for (const [id, one] of due)
      if (one.at <= until && (found === undefined || one.at < found.at)) found = { id, ...one }
    return found
  }
  return {
    now: () => now,
    elapsed: () => now - start,
    after(ms, task) {
      last += 1
      const id = last
      due.set(id, { at: now + ms, task })
      return () => due.delete(id)
    },
    async advance(ms) {
      const until = now + ms
      await settled()
      for (let one = next(until); one; one = next(until)) {
        due.delete(one.id)
        now = one.at
        one.task()
        await settled()
      }
      now = until
    },
  }
}
