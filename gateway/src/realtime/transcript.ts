/**
 * The words of one turn, from the first guess to the last word: partial ones while it goes on, all of them begun
 * at its first pause, and what was said before a long turn's pauses is listened to once.
 */
import { inputSampleRate } from '#protocol/frame.ts'
import { createAgreement, type Agreement, type Heard } from './agreement.ts'

export interface TranscriptDeps {
  /** The turn's sound between two places, in samples. */
  slice(from: number, to: number): Int16Array
  /** Throws `busy` for a partial one where the engine has something better to do. */
  transcribe(samples: Int16Array, urgency: 'partial' | 'final', signal: AbortSignal): Promise<string>
  /** Words that are sure now, and those that are not. */
  onPartial(heard: Heard): void
  /** What it is if nothing more is said. */
  onGuess(words: string): void
}

export interface Transcript {
  /** Where the turn begins, in samples. */
  readonly from: number
  /** Listens to what there is so far, unless it does already. */
  partial(to: number): void
  /** A pause: begins with what may be all. */
  speculate(to: number): void
  /** It was not all. */
  forget(): void
  /** All words of the turn; what a pause began with holds. Throws a `Failure`. */
  finish(to: number): Promise<string>
  /** Nobody wants its words any more. */
  drop(): void
}

/** Long enough that its words do not change any more when others follow. */
const segmentSamples = 12 * inputSampleRate
/** Whisper works in windows of 30 s; beyond that a guess costs twice. */
const longestPartialSamples = 28 * inputSampleRate
const leastPartialSamples = inputSampleRate / 2

interface Guess {
  readonly to: number
  readonly words: Promise<string>
  readonly abort: AbortController
  known: string | undefined
}

export function createTranscript(from: number, deps: TranscriptDeps, ended: AbortSignal): Transcript {
  let start = from
  let settled = ''
  let agreement: Agreement = createAgreement()
  let guess: Guess | undefined
  let listening: AbortController | undefined

  const join = (words: string): string => [settled, words].filter((part) => part !== '').join(' ')
  const begin = (to: number): Guess => {
    listening?.abort()
    const abort = new AbortController()
    const signal = AbortSignal.any([ended, abort.signal])
    const words = deps.transcribe(deps.slice(start, to), 'final', signal)
    return { to, words, abort, known: undefined }
  }
  return {
    from,
    partial(to) {
      const length = to - start
      if (listening || guess || length < leastPartialSamples || length > longestPartialSamples) return
      const abort = new AbortController()
      listening = abort
      const of = agreement
      deps
        .transcribe(deps.slice(start, to), 'partial', AbortSignal.any([ended, abort.signal]))
        .then(
          (words) => {
            if (abort.signal.aborted || of !== agreement) return
            const first = agreement.agreed === '' && settled !== ''
            const { delta, tail } = agreement.hear(words)
            deps.onPartial({ delta: first && delta !== '' ? ` ${delta}` : delta, tail })
          },
          // Another one follows; what matters fails again in the final one.
          () => {},
        )
        .finally(() => {
          listening = undefined
        })
    },
    speculate(to) {
      const made = begin(to)
      guess = made
      made.words.then(
        (words) => {
          made.known = words
          if (guess === made) deps.onGuess(join(words))
        },
        () => {
          if (guess === made) guess = undefined
        },
      )
    },
    forget() {
      if (guess?.known !== undefined && guess.to - start > segmentSamples) {
        settled = join(guess.known)
        start = guess.to
        agreement = createAgreement()
      } else guess?.abort.abort()
      guess = undefined
    },
    async finish(to) {
      guess ??= begin(to)
      return join(await guess.words)
    },
    drop() {
      listening?.abort()
      guess?.abort.abort()
      guess = undefined
    },
  }
}
