import { describe, expect, it } from 'vitest'
import { createOutbox } from './outbox.ts'

describe('what was sent and may be lost', () => {
  it('is kept until the other side has it, and sent again from there', () => {
    const outbox = createOutbox<string>(1_000)
    for (const message of ['one', 'two', 'three']) outbox.keep(message, 10)
    expect(outbox.after(0)).toEqual(['one', 'two', 'three'])
    outbox.acknowledge(2)
    expect([outbox.after(2), outbox.after(3), outbox.bytes]).toEqual([['three'], [], 10])
    // An older word of the other side changes nothing.
    outbox.acknowledge(1)
    expect(outbox.after(2)).toEqual(['three'])
  })

  it('is said to be gone, never sent with a gap', () => {
    const outbox = createOutbox<string>(25)
    expect([outbox.keep('one', 10), outbox.keep('two', 10), outbox.keep('three', 10)]).toEqual([
      true,
      true,
      false,
    ])
    expect([outbox.after(0), outbox.after(2), outbox.after(3), outbox.after(4)]).toEqual([
      undefined,
      undefined,
      [],
      undefined,
    ])
    expect(outbox.bytes).toBe(0)
    outbox.keep('four', 10)
    expect(outbox.after(3)).toEqual(['four'])
  })
})
