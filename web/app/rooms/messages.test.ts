import type { RoomMessage } from '@sotto/gateway/protocol/rooms.ts'
import { describe, expect, it } from 'vitest'
import { continues, mentionAt, merge } from './messages.ts'

const message = (id: string, sequence: number | null, more: Partial<RoomMessage> = {}): RoomMessage => ({
  id,
  room: 'room',
  sequence,
  revision: 1,
  author: { name: 'ada', gateway: null, via: null, person: 'ada' },
  model: null,
  text: id,
  at: '2026-11-21T10:00:00.000Z',
  editedAt: null,
  deleted: false,
  reply: null,
  state: sequence === null ? 'pending' : 'sent',
  ...more,
})
const ids = (messages: readonly RoomMessage[]) => messages.map(({ id }) => id)

describe('the messages of a room', () => {
  it('stand in their places, and what has none yet is last', () => {
    const known = merge([], [message('c', 3), message('waits', null), message('a', 1)])
    expect(ids(known)).toEqual(['a', 'c', 'waits'])
    const placed = merge(known, [message('b', 2), message('waits', 4, { revision: 2 })])
    expect(ids(placed)).toEqual(['a', 'b', 'c', 'waits'])
    expect(placed.at(-1)).toMatchObject({ state: 'sent' })
  })

  it('are as their newest state says, whichever comes last', () => {
    const newer = message('a', 1, { revision: 7, text: 'new' })
    expect(merge([newer], [message('a', 1, { revision: 3, text: 'old' })])).toEqual([newer])
    expect(merge([message('a', 1)], [newer])).toEqual([newer])
  })

  it('go on from each other where the same one wrote them at once', () => {
    const first = message('a', 1)
    const carol = { ...first.author, gateway: 'friend', person: null }
    expect(continues(undefined, first)).toBe(false)
    expect(continues(first, message('b', 2))).toBe(true)
    expect(continues(first, message('b', 2, { at: '2026-11-21T10:05:00.000Z' }))).toBe(false)
    expect(continues(first, message('b', 2, { author: carol }))).toBe(false)
    expect(continues(first, message('b', 2, { model: 'llama3.2' }))).toBe(false)
  })

  it('mention whom one begins to write', () => {
    expect(mentionAt('Hey @so', 7)).toEqual({ from: 5, begun: 'so' })
    expect(mentionAt('@', 1)).toEqual({ from: 1, begun: '' })
    expect(mentionAt('mail@example', 12)).toBeUndefined()
    expect(mentionAt('@sotto now', 10)).toBeUndefined()
  })
})
