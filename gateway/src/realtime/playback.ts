/** How much of an answer's sound was heard: what the client reports, or else the clock since it was sent. */
import { createHeard, type Heard } from './heard.ts'

export interface Playback extends Pick<Heard, 'until' | 'whole'> {
  /** Sound that was sent. */
  sent(ms: number): void
  /** A text's sound was sent whole. */
  spoke(text: string, ms: number): void
  /** The client says how much has left its speaker. */
  report(ms: number): void
  /** Heard so far, and sent so far, ms. */
  readonly heardMs: number
  readonly sentMs: number
}

/** @param behindMs how long something else is heard before it */
export function createPlayback(behindMs = 0, now: () => number = () => performance.now()): Playback {
  const heard = createHeard()
  let sentMs = 0
  /** Who could tell and never does plays at once, as others do. */
  let reported: number | undefined
  /** When the clock would have been at zero, were there no pauses between sentences. */
  let began = 0
  return {
    get heardMs() {
      return reported === undefined
        ? Math.max(0, Math.min(now() - began, sentMs))
        : Math.min(reported, sentMs)
    },
    get sentMs() {
      return sentMs
    },
    sent(ms) {
      // What comes after all before it was heard is heard from now on.
      if (now() - began > sentMs) began = now() - sentMs + (sentMs === 0 ? behindMs : 0)
      sentMs += ms
    },
    spoke: (text, ms) => heard.speak(text, ms),
    report(ms) {
      reported = Math.max(reported ?? 0, ms)
    },
    until: heard.until,
    whole: heard.whole,
  }
}
