import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Heard } from './agreement.ts'
import { createTranscript } from './transcript.ts'

const rate = 16_000

/** A turn whose words are the seconds that were listened to; what was asked of Whisper, and what was told. */
function listen(words: (from: number, to: number, urgency: string) => string | Promise<string>) {
  const asked: { urgency: string; seconds: number; signal: AbortSignal }[] = []
  const told: Heard[] = []
  const guesses: string[] = []
  const spans = new Map<Int16Array, [number, number]>()
  const turn = createTranscript(
    0,
    {
      slice(from, to) {
        const samples = new Int16Array(0)
        spans.set(samples, [from / rate, to / rate])
        return samples
      },
      async transcribe(samples, urgency, signal) {
        const [from, to] = spans.get(samples) ?? [0, 0]
        asked.push({ urgency, seconds: to - from, signal })
        return words(from, to, urgency)
      },
      onPartial: (heard) => told.push(heard),
      onGuess: (guess) => guesses.push(guess),
    },
    new AbortController().signal,
  )
  return { turn, asked, told, guesses }
}

describe('the words of a turn', () => {
  it('end with its last word, though nothing follows it (WhisperLive 203)', async () => {
    const { turn } = listen((from, to) => `${from} to ${to}`)
    turn.partial(rate)
    await pause(1)
    expect(await turn.finish(3 * rate)).toBe('0 to 3')
  })

  it('are what the pause began with, where nothing came after it', async () => {
    const { turn, asked, guesses } = listen(() => 'all of it')
    turn.speculate(2 * rate)
    await pause(1)
    expect([await turn.finish(2.5 * rate), guesses, asked.length]).toEqual(['all of it', ['all of it'], 1])
  })

  it('are asked for anew where it went on, and the first request ends', async () => {
    const { turn, asked } = listen(async (_from, to) => {
      await pause(5)
      return `${to} s`
    })
    turn.speculate(2 * rate)
    turn.forget()
    expect(asked[0]?.signal.aborted).toBe(true)
    expect(await turn.finish(4 * rate)).toBe('4 s')
  })

  it('of a long one are listened to once: it does not lag more and more (WhisperLiveKit 150)', async () => {
    const { turn, asked } = listen((from, to) => `${from}-${to}`)
    for (const end of [15, 30, 45]) {
      turn.speculate(end * rate)
      await pause(1)
      turn.forget()
    }
    expect(await turn.finish(50 * rate)).toBe('0-15 15-30 30-45 45-50')
    expect(asked.map(({ seconds }) => seconds)).toEqual([15, 15, 15, 5])
  })

  it('in between follow those that are sure already, with a space', async () => {
    const { turn, told } = listen((from) => (from === 0 ? 'one two' : 'three four'))
    turn.speculate(15 * rate)
    await pause(1)
    turn.forget()
    for (const end of [16, 17]) {
      turn.partial(end * rate)
      await pause(1)
    }
    expect(told).toEqual([
      { delta: '', tail: 'three four' },
      { delta: ' three four', tail: '' },
    ])
  })

  it('in between make way for the final ones, and fail without a word', async () => {
    const { turn, asked, told } = listen(async (_from, _to, urgency) => {
      await pause(5)
      if (urgency === 'partial') throw new Error('busy')
      return 'final'
    })
    turn.partial(rate)
    const words = turn.finish(2 * rate)
    expect(asked[0]?.signal.aborted).toBe(true)
    expect(await words).toBe('final')
    expect(told).toEqual([])
  })
})
