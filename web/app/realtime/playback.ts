/** Which sound belongs to which answer, how much of it was played, and who is told of that. */
import { outputSampleRate } from '@sotto/gateway/protocol/frame.ts'

/** The gateway is told this often how far an answer has got. */
const reportMs = 250

/** What the worklet says of a stream. */
export interface Progress {
  readonly stream: number
  /** Samples of it that were played. */
  readonly played: number
  /** Nothing more of it will be. */
  readonly over: boolean
}

/** The words of an answer that its sound has reached, and those of the sentence that is being said which follow. */
export interface Caption {
  /** The answer's; empty where there is none. */
  readonly itemId: string
  readonly said: string
  readonly coming: string
}

/** Where an answer's sound was stopped. */
export interface Cut {
  readonly itemId: string
  readonly contentIndex: number
  readonly playedMs: number
}

interface Stream {
  readonly stream: number
  readonly itemId: string
  readonly contentIndex: number
  taken: number
  played: number
  reportedAt: number
  /** Its words, each piece with the sample at which its sound begins. */
  readonly words: { readonly text: string; readonly from: number }[]
  /** `open`: more may come. `ended`: all has come. `over`: all was played, or nothing more is to be. */
  state: 'open' | 'ended' | 'over'
}

export interface Playback {
  /** Samples that were taken and not played. */
  readonly waiting: number
  /** Whether an answer has sound that is not over. */
  readonly active: boolean
  /** The sound of an answer will come by this number. */
  announce(stream: number, itemId: string, contentIndex: number): void
  /** Whether samples are to be played: those of an answer that was stopped are not. */
  take(stream: number, samples: number): boolean
  /** The words of the sound that comes next. */
  caption(itemId: string, text: string): void
  /** What is being said, for who reads along. */
  readonly captioned: Caption
  /** The numbers of an answer's streams of which all has come. */
  end(itemId: string): readonly number[]
  /** Takes what the worklet says; resolves to the milliseconds of its answer that were played. */
  progress(of: Progress, now: number): number | undefined
  /** Stops an answer, or all: the numbers of its streams, and where each was. */
  stop(itemId?: string): { readonly streams: readonly number[]; readonly cuts: readonly Cut[] }
}

/** @param report tells how much of an answer was played */
export function createPlayback(report: (itemId: string, playedMs: number) => void): Playback {
  const streams = new Map<number, Stream>()
  /** The one that was announced, or played, last. */
  let current: Stream | undefined
  const sounding = (): Stream[] => [...streams.values()].filter(({ state }) => state !== 'over')
  return {
    get waiting() {
      return sounding().reduce((sum, { taken, played }) => sum + taken - played, 0)
    },
    get active() {
      return sounding().some(({ taken }) => taken > 0)
    },
    announce(stream, itemId, contentIndex) {
      const of: Stream = {
        stream,
        itemId,
        contentIndex,
        words: [],
        taken: 0,
        played: 0,
        reportedAt: 0,
        state: 'open',
      }
      streams.set(stream, of)
      if (!sounding().some((one) => one !== of && one.taken > 0)) current = of
    },
    take(stream, samples) {
      const of = streams.get(stream)
      if (of?.state !== 'open') return false
      of.taken += samples
      return true
    },
    caption(itemId, text) {
      const of = sounding().findLast((one) => one.itemId === itemId)
      of?.words.push({ text, from: of.taken })
    },
    get captioned() {
      return current ? captionOf(current) : { itemId: '', said: '', coming: '' }
    },
    end(itemId) {
      const ending = sounding().filter((of) => of.itemId === itemId && of.state === 'open')
      for (const of of ending) of.state = of.taken > 0 ? 'ended' : 'over'
      return ending.filter(({ taken }) => taken > 0).map(({ stream }) => stream)
    },
    progress({ stream, played, over }, now) {
      const of = streams.get(stream)
      if (!of || of.state === 'over') return undefined
      of.played = played
      current = of
      if (over) of.state = 'over'
      if (over || now - of.reportedAt >= reportMs) {
        of.reportedAt = now
        report(of.itemId, milliseconds(played))
      }
      return milliseconds(played)
    },
    stop(itemId) {
      const stopping = sounding().filter((of) => itemId === undefined || of.itemId === itemId)
      for (const of of stopping) of.state = 'over'
      return {
        streams: stopping.map(({ stream }) => stream),
        cuts: stopping
          .filter(({ taken }) => taken > 0)
          .map((of) => ({
            itemId: of.itemId,
            contentIndex: of.contentIndex,
            playedMs: milliseconds(of.played),
          })),
      }
    },
  }
}

/** Samples a character, for a sentence whose sound is still being made: 65 ms. */
const samplesPerCharacter = outputSampleRate * 0.065

function captionOf({ itemId, words, taken, played, state }: Stream): Caption {
  const ends = words.map(({ text, from }, at) => {
    const made = words[at + 1]?.from ?? taken
    return state === 'open' && at === words.length - 1
      ? Math.max(made, from + text.length * samplesPerCharacter)
      : made
  })
  const at = ends.findIndex((end) => end > played)
  const whole = words.slice(0, at === -1 ? words.length : at).map(({ text }) => text)
  const now = words[at]
  if (!now) return { itemId, said: whole.join('').trim(), coming: '' }
  const share = Math.max(0, played - now.from) / ((ends[at] ?? played) - now.from)
  // The word that is being said is said.
  const all = now.text.match(/\s*\S+/g) ?? []
  const reached = Math.ceil(all.length * share)
  return {
    itemId,
    said: [...whole, ...all.slice(0, reached)].join('').trimStart(),
    // What was stopped says no more.
    coming: state === 'over' ? '' : all.slice(reached).join(''),
  }
}

function milliseconds(samples: number): number {
  return Math.round((samples / outputSampleRate) * 1_000)
}
