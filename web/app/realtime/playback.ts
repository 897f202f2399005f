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
  const sounding = (): Stream[] => [...streams.values()].filter(({ state }) => state !== 'over')
  return {
    get waiting() {
      return sounding().reduce((sum, { taken, played }) => sum + taken - played, 0)
    },
    get active() {
      return sounding().some(({ taken }) => taken > 0)
    },
    announce(stream, itemId, contentIndex) {
      streams.set(stream, { stream, itemId, contentIndex, taken: 0, played: 0, reportedAt: 0, state: 'open' })
    },
    take(stream, samples) {
      const of = streams.get(stream)
      if (of?.state !== 'open') return false
      of.taken += samples
      return true
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

function milliseconds(samples: number): number {
  return Math.round((samples / outputSampleRate) * 1_000)
}
