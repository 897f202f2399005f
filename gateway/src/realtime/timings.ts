/** Where the time of a turn goes, from the end of speech to the first sound of the answer. */
import type { Timings } from '#protocol/events.ts'

export type Stage = 'turn' | 'transcript' | 'first_token' | 'first_audio'

export interface TurnTimings {
  /** Speech ended, or the answer was asked for, so many milliseconds ago. */
  begin(agoMs?: number): void
  /** Takes down the first time only. */
  mark(stage: Stage): void
  /** All there is, once for each turn, when nothing more will come; undefined where it was told already. */
  take(): Timings | undefined
}

const none: Timings = { turn: null, transcript: null, first_token: null, first_audio: null }

export function createTimings(now: () => number = () => performance.now()): TurnTimings {
  let began: number | undefined
  let timings = none
  return {
    begin(agoMs = 0) {
      began = now() - agoMs
      timings = none
    },
    mark(stage) {
      if (began !== undefined && timings[stage] === null)
        timings = { ...timings, [stage]: Math.round((now() - began) * 10) / 10 }
    },
    take() {
      if (began === undefined) return undefined
      began = undefined
      return timings
    },
  }
}
