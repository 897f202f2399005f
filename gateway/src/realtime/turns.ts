/**
 * When somebody begins to speak, pauses, goes on and has ended: from how likely each frame is speech. Pure: it
 * counts frames, and knows no clock.
 */

export interface TurnSettings {
  /** From when on a frame is speech, 0 to 1. */
  readonly threshold: number
  /** What of the time before the first frame of speech belongs to the turn, ms. */
  readonly prefixMs: number
  /** The silence that ends a turn, ms. */
  readonly silenceMs: number
}

/** Milliseconds count from the beginning of the session's audio. */
export type TurnEvent =
  /** Somebody speaks, from `at` on, the prefix included. */
  | { readonly kind: 'started'; readonly at: number }
  /** It has lasted too long for a cough. */
  | { readonly kind: 'sustained'; readonly at: number }
  /** Silence so far that may be the end: time to transcribe what there is. */
  | { readonly kind: 'paused'; readonly at: number }
  /** It was not the end. */
  | { readonly kind: 'resumed'; readonly at: number }
  /** It was; `at` includes the silence. */
  | { readonly kind: 'ended'; readonly at: number }

export interface Turns {
  /** Takes the next frame. */
  hear(speech: number): TurnEvent[]
  /** Whether a turn is going on. */
  readonly speaking: boolean
  /** How long the silence has lasted, ms. */
  readonly silence: number
  /** Forgets a turn that is going on; time goes on. */
  reset(): void
  configure(settings: TurnSettings): void
}

/** Silero’s frame: 512 samples at 16 kHz. */
export const frameMs = 32
/** A cough, a door: speech is longer. */
const leastSpeechMs = 200
/** Longer than a cough, too, and than most of what people say to show that they listen. */
const sustainedMs = 320
/** The first sign of an end. */
const pauseMs = 200
/** Speech that goes on may be a little less likely than speech that begins, or every breath would end it. */
const hysteresis = 0.15

/** @param fromMs when it begins to listen, on the session's clock */
export function createTurns(first: TurnSettings, fromMs = 0): Turns {
  let settings = first
  let frames = Math.round(fromMs / frameMs)
  /** Frames of speech in a row, or nearly: before a turn has begun. */
  let voiced = 0
  let silent = 0
  let state: 'idle' | 'speaking' | 'paused' = 'idle'
  /** No prefix reaches into the turn before. */
  let earliest = fromMs

  const ms = (count: number): number => count * frameMs
  /** To the nearest frame. */
  const lasts = (count: number, wanted: number): boolean => ms(count) + frameMs / 2 >= wanted
  const idle = (speech: number): TurnEvent[] => {
    if (speech >= settings.threshold) {
      voiced += 1
      silent = 0
    } else if (voiced > 0) {
      silent += 1
      // A gap as between syllables does not begin the count anew.
      if (silent > 3) [voiced, silent] = [0, 0]
    }
    if (ms(voiced) < leastSpeechMs) return []
    const at = Math.max(earliest, ms(frames - voiced - silent) - settings.prefixMs)
    state = 'speaking'
    silent = 0
    return [{ kind: 'started', at }]
  }
  const speaking = (speech: number): TurnEvent[] => {
    if (speech >= settings.threshold - hysteresis) {
      silent = 0
      voiced += 1
      const events: TurnEvent[] = state === 'paused' ? [{ kind: 'resumed', at: ms(frames) }] : []
      state = 'speaking'
      if (ms(voiced - 1) < sustainedMs && ms(voiced) >= sustainedMs)
        events.push({ kind: 'sustained', at: ms(frames) })
      return events
    }
    silent += 1
    const events: TurnEvent[] = []
    if (state === 'speaking' && lasts(silent, Math.min(pauseMs, settings.silenceMs))) {
      state = 'paused'
      events.push({ kind: 'paused', at: ms(frames) })
    }
    if (lasts(silent, settings.silenceMs)) {
      events.push({ kind: 'ended', at: ms(frames) })
      state = 'idle'
      earliest = ms(frames)
      voiced = 0
    }
    return events
  }
  return {
    hear(speech) {
      frames += 1
      return state === 'idle' ? idle(speech) : speaking(speech)
    },
    get speaking() {
      return state !== 'idle'
    },
    get silence() {
      return ms(silent)
    },
    reset() {
      state = 'idle'
      earliest = ms(frames)
      ;[voiced, silent] = [0, 0]
    },
    configure(next) {
      settings = next
    },
  }
}
