import { describe, expect, it } from 'vitest'
import { createAllotment } from './allotment.ts'
import { createSimulatedClock } from './simulated-clock.fixture.ts'

describe('an allotment', () => {
  it('is held to its minute', async () => {
    const clock = createSimulatedClock()
    const allotment = createAllotment(clock)
    expect([1, 2, 3].map(() => allotment.take('ada', 2))).toEqual([true, true, false])
    expect(allotment.take('bob', 2)).toBe(true)
    await clock.advance(60_000)
    expect(allotment.take('ada', 2)).toBe(true)
  })

  it('rate state never pruned: meshes that are silent for a minute take no room', async () => {
    const clock = createSimulatedClock()
    const allotment = createAllotment(clock)
    for (let number = 0; number < 1_000; number += 1) allotment.take(`mesh ${number}`, 60)
    expect(allotment.size).toBe(1_000)
    await clock.advance(60_000)
    expect(allotment.size).toBe(0)
  })
})
