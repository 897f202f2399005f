import { describe, expect, it } from 'vitest'
import { createBackoff } from './backoff.ts'

describe('the wait before the next attempt', () => {
  it('doubles up to half a minute, and is short again after a connection', () => {
    const backoff = createBackoff(() => 1)
    expect(Array.from({ length: 8 }, backoff.next)).toEqual([
      500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
    ])
    backoff.reset()
    expect(backoff.next()).toBe(500)
  })

  it('is spread over half of its length, so that not all come at once', () => {
    expect(createBackoff(() => 0).next()).toBe(250)
    expect(createBackoff(() => 0.5).next()).toBe(375)
  })
})
