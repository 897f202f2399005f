import { describe, expect, it } from 'vitest'
import { createHeard } from './heard.ts'

describe('what was heard of an answer', () => {
  const answer = () => {
    const heard = createHeard()
    heard.speak('The moon is far.', 1_000)
    heard.speak(' It takes three days to get there.', 2_000)
    return heard
  }
  it('is nothing before it began, and all of it after its end', () => {
    expect(answer().until(0)).toBe('')
    expect(answer().ms).toBe(3_000)
    for (const late of [3_000, 3_400, Infinity])
      expect(answer().until(late)).toBe('The moon is far. It takes three days to get there.')
  })
  it('is whole chunks, and as many words of the one that was cut as fit its share', () => {
    expect(answer().until(1_000)).toBe('The moon is far.')
    expect(answer().until(2_000)).toBe('The moon is far. It takes three')
    expect(answer().until(500)).toBe('The moon')
    expect([500, 1_000, 2_000, 3_000].map((ms) => answer().whole(ms))).toEqual([0, 1, 1, 2])
  })
})
