/** How many messages each mesh sent within the minute. A mesh that is silent for one takes no room. */
import type { Clock } from './clock.ts'

export interface Allotment {
  /** Counts one; false where that is more than `most` within this minute. */
  take(meshId: string, most: number): boolean
  /** Within this minute. */
  count(meshId: string): number
  /** Of meshes that are counted now. */
  readonly size: number
}

const minuteMs = 60_000

/** Its minutes are each mesh's own, from its first message on: a new connection begins no new one. */
export function createAllotment(clock: Clock): Allotment {
  const counts = new Map<string, number>()
  return {
    take(meshId, most) {
      const count = (counts.get(meshId) ?? 0) + 1
      if (count === 1) clock.after(minuteMs, () => counts.delete(meshId))
      counts.set(meshId, count)
      return count <= most
    },
    count: (meshId) => counts.get(meshId) ?? 0,
    get size() {
      return counts.size
    },
  }
}
