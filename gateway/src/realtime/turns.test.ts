import { describe, expect, it } from 'vitest'
import { createTurns, frameMs, type TurnEvent } from './turns.ts'

const settings = { threshold: 0.5, prefixMs: 300, silenceMs: 500 }
/** `s` is a frame of speech, `.` of silence, `?` of something in between. */
function hear(frames: string, turns = createTurns(settings)): TurnEvent[] {
  const likely: Record<string, number> = { s: 0.9, '.': 0.05, '?': 0.4 }
  return frames.split('').flatMap((frame) => turns.hear(likely[frame] ?? 0))
}
const kinds = (events: readonly TurnEvent[]) => events.map(({ kind }) => kind)

describe('a turn', () => {
  it('begins when speech has lasted, its prefix before it, and ends after the silence', () => {
    const events = hear(`${'.'.repeat(30)}${'s'.repeat(20)}${'.'.repeat(20)}`)
    expect(kinds(events)).toEqual(['started', 'sustained', 'paused', 'ended'])
    expect(events[0]?.at).toBe(30 * frameMs - 300)
    expect(events[3]?.at).toBe(66 * frameMs)
  })
  it('is not begun by a cough, nor ended by a breath', () => {
    expect(hear(`${'.'.repeat(10)}sss${'.'.repeat(30)}`)).toEqual([])
    expect(kinds(hear(`${'s'.repeat(20)}....${'s'.repeat(20)}`))).toEqual(['started', 'sustained'])
    expect(kinds(hear(`${'s'.repeat(20)}${'?'.repeat(40)}`))).toEqual(['started', 'sustained'])
  })
  it('ends though it is never quite still around it (home-assistant/core 122177)', () => {
    const turns = createTurns(settings)
    const events = Array.from({ length: 20 }).flatMap(() => turns.hear(0.9))
    for (let at = 0; at < 20; at += 1) events.push(...turns.hear(at % 3 === 0 ? 0.3 : 0.2))
    expect(kinds(events).at(-1)).toBe('ended')
  })
  it('that pauses and goes on says so', () => {
    expect(kinds(hear(`${'s'.repeat(20)}${'.'.repeat(9)}${'s'.repeat(9)}${'.'.repeat(20)}`))).toEqual([
      'started',
      'sustained',
      'paused',
      'resumed',
      'paused',
      'ended',
    ])
  })
  it('has no prefix out of the turn before it', () => {
    const events = hear(`${'s'.repeat(20)}${'.'.repeat(16)}${'s'.repeat(20)}`)
    expect(kinds(events)).toEqual(['started', 'sustained', 'paused', 'ended', 'started', 'sustained'])
    expect(events[4]?.at).toBe(events[3]?.at)
  })
  it('is forgotten on wish, and time goes on', () => {
    const turns = createTurns(settings)
    hear('s'.repeat(20), turns)
    expect(turns.speaking).toBe(true)
    turns.reset()
    expect(hear('.'.repeat(30), turns)).toEqual([])
    expect(hear('s'.repeat(10), turns)[0]?.at).toBe(50 * frameMs - 300)
  })
})
