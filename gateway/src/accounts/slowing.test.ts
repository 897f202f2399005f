/** Who guesses waits longer and longer; who waited goes on. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createSlowing } from './slowing.ts'

beforeEach(() => vi.useFakeTimers({ toFake: ['Date', 'performance'], now: 0 }))
afterEach(() => vi.useRealTimers())

const start = () => createSlowing({ free: 2, firstMs: 1_000, mostMs: 8_000, quietMs: 60_000 })
const refused = (task: () => void): number | undefined => {
  try {
    task()
    return undefined
  } catch (error) {
    return error instanceof Error && 'retryAfter' in error ? Number(error.retryAfter) : NaN
  }
}

it('lets some tries go, then doubles each wait up to the longest, and forgets after a quiet while', () => {
  const slowing = start()
  const waits = []
  for (let count = 0; count < 8; count += 1) {
    slowing.take('ada')
    const wait = refused(() => slowing.take('ada'))
    if (wait === undefined) continue
    waits.push(wait)
    vi.advanceTimersByTime(wait * 1_000)
  }
  expect(waits.slice(0, 4)).toEqual([1, 2, 4, 8])
  expect(Math.max(...waits)).toBe(8)
  vi.advanceTimersByTime(60_000)
  expect([refused(() => slowing.take('ada')), refused(() => slowing.take('ada'))]).toEqual([
    undefined,
    undefined,
  ])
})

it('holds nobody for longer, nor lets anybody go on, where the clock is set back or forward', () => {
  const slowing = start()
  for (let count = 0; count < 3; count += 1) slowing.take('ada')
  for (const days of [-1, 1]) {
    vi.setSystemTime(Date.now() + days * 86_400_000)
    expect(refused(() => slowing.take('ada'))).toBe(1)
  }
  vi.advanceTimersByTime(1_000)
  expect(refused(() => slowing.take('ada'))).toBeUndefined()
})

it('holds nobody for the tries of another, and none for what was no guess', () => {
  const slowing = start()
  for (let count = 0; count < 3; count += 1) slowing.take('ada')
  expect(refused(() => slowing.take('bob'))).toBeUndefined()
  slowing.giveBack('ada')
  expect(refused(() => slowing.take('ada'))).toBeUndefined()
  slowing.forget('ada')
  expect(refused(() => slowing.take('ada'))).toBeUndefined()
})

it('remembers no more of them than it has room for', () => {
  const slowing = start()
  for (let count = 0; count < 3; count += 1) slowing.take('first')
  for (let count = 0; count < 10_000; count += 1) slowing.take(`guess ${count}`)
  expect(refused(() => slowing.take('first'))).toBeUndefined()
})
