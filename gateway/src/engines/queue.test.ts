import { describe, expect, it } from 'vitest'
import { createFairQueue } from './queue.ts'

const never = new AbortController().signal

/** Lets everybody in by turns, and tells in which order. */
async function order(callers: readonly string[]): Promise<string[]> {
  const queue = createFairQueue(1)
  const leave = await queue.enter({ tenant: 'first', caller: 'first', signal: never })
  const went: string[] = []
  const turns = callers.map(async (name) => {
    const [tenant = '', caller = ''] = name.split('.')
    const done = await queue.enter({ tenant, caller, signal: never })
    went.push(name)
    done()
  })
  leave()
  await Promise.all(turns)
  return went
}

describe('a fair queue', () => {
  it('lets tenants take turns, and within each its callers', async () => {
    expect(await order(['a.x', 'a.x', 'a.y', 'a.x', 'b.z', 'b.z', 'c.w'])).toEqual([
      'a.x',
      'b.z',
      'c.w',
      'a.y',
      'b.z',
      'a.x',
      'a.x',
    ])
  })

  it('tells each its place as it changes, and lets one who leaves out', async () => {
    const queue = createFairQueue(1)
    const leave = await queue.enter({ tenant: 'a', caller: 'a', signal: never })
    const places: Record<string, number[]> = { one: [], two: [] }
    const gone = new AbortController()
    const one = queue.enter({
      tenant: 'b',
      caller: 'one',
      signal: gone.signal,
      onWait: (at) => places.one?.push(at),
    })
    const two = queue.enter({
      tenant: 'b',
      caller: 'two',
      signal: never,
      onWait: (at) => places.two?.push(at),
    })
    expect(queue).toMatchObject({ running: 1, waiting: 2 })
    gone.abort(new Error('left'))
    await expect(one).rejects.toThrow('left')
    expect(places).toEqual({ one: [1, 1], two: [2, 1] })
    leave()
    leave()
    ;(await two)()
    expect(queue).toMatchObject({ running: 0, waiting: 0 })
  })

  it('refuses, with a time to come again, where too many wait', async () => {
    const queue = createFairQueue(1)
    await queue.enter({ tenant: 'a', caller: 'a', signal: never })
    for (let at = 0; at < 64; at += 1) void queue.enter({ tenant: 'a', caller: 'greedy', signal: never })
    await expect(queue.enter({ tenant: 'a', caller: 'greedy', signal: never })).rejects.toMatchObject({
      code: 'busy',
      retryAfter: 10,
    })
    void queue.enter({ tenant: 'b', caller: 'other', signal: never })
    expect(queue.waiting).toBe(65)
  })
})
