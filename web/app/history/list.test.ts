import type { ConversationSummary } from '@sotto/gateway/protocol/conversations.ts'
import { describe, expect, it } from 'vitest'
import { append, follow, groupByDay, renew } from './list.ts'

const conversation = (id: string, updatedAt: string, more?: Partial<ConversationSummary>) => ({
  id,
  family: id,
  title: id,
  pinned: false,
  model: null,
  createdAt: updatedAt,
  updatedAt,
  ...more,
})
const ids = ({ conversations }: { conversations: readonly ConversationSummary[] }) =>
  conversations.map(({ id }) => id)

const [a, b, c] = [
  conversation('a', '2026-11-21T10:00:00.000Z'),
  conversation('b', '2026-11-20T10:00:00.000Z'),
  conversation('c', '2026-11-19T10:00:00.000Z'),
]
const list = { conversations: [a, b, c], next: null }

describe('the list', () => {
  it('brings what something was said in to the top, and the pinned above it', () => {
    const said = follow(list, {
      type: 'x.conversations',
      changed: { ...c, updatedAt: '2026-11-22T10:00:00.000Z' },
    })
    expect(ids(said)).toEqual(['c', 'a', 'b'])
    const pinned = follow(said, { type: 'x.conversations', changed: { ...b, pinned: true } })
    expect(ids(pinned)).toEqual(['b', 'c', 'a'])
    expect(ids(follow(pinned, { type: 'x.conversations', changed: b }))).toEqual(['c', 'a', 'b'])
  })

  it('takes in what is begun or restored, each once, and lets go of what is deleted', () => {
    const without = follow(list, { type: 'x.conversations', removed: 'b' })
    expect(ids(without)).toEqual(['a', 'c'])
    const restored = follow(without, { type: 'x.conversations', changed: b })
    expect(ids(follow(restored, { type: 'x.conversations', changed: b }))).toEqual(['a', 'b', 'c'])
    expect(ids(follow(list, { type: 'x.conversations', removed: 'unknown' }))).toEqual(['a', 'b', 'c'])
  })

  it('leaves what is further down than was loaded to its page', () => {
    const loaded = { conversations: [a, b], next: 'b' }
    expect(ids(follow(loaded, { type: 'x.conversations', changed: c }))).toEqual(['a', 'b'])
    expect(ids(append(loaded, { conversations: [b, c], next: null }))).toEqual(['a', 'b', 'c'])
  })

  it('keeps the pages after the first when that is loaded again, but nothing that is gone from it', () => {
    const newest = conversation('new', '2026-11-22T10:00:00.000Z')
    expect(ids(renew(list, { conversations: [newest, b], next: 'b' }))).toEqual(['new', 'b', 'c'])
    expect(ids(renew(list, { conversations: [a], next: null }))).toEqual(['a'])
    expect(ids(renew(list, { conversations: [], next: null }))).toEqual([])
  })
})

describe('groups', () => {
  // Local times: they are the days of who looks.
  const now = new Date(2026, 10, 21, 0, 30)
  const at = (id: string, ...when: [number, number, number, number]) =>
    conversation(id, new Date(...when).toISOString())
  const groups = (...conversations: ConversationSummary[]) =>
    groupByDay(conversations, now).map(({ kind, month, conversations: grouped }) => [
      month ? `${month.getFullYear()}-${month.getMonth() + 1}` : kind,
      ...grouped.map(({ id }) => id),
    ])

  it('go by calendar days, then by months', () =>
    expect(
      groups(
        conversation('kept', '2025-01-01T00:00:00.000Z', { pinned: true }),
        at('just now', 2026, 10, 21, 0),
        at('an hour ago', 2026, 10, 20, 23),
        at('in the morning', 2026, 10, 20, 0),
        at('two days ago', 2026, 10, 19, 23),
        at('a week ago', 2026, 10, 14, 1),
        at('eight days ago', 2026, 10, 13, 23),
        at('thirty days ago', 2026, 9, 22, 1),
        at('longer ago', 2026, 9, 21, 23),
        at('in the same month', 2026, 9, 1, 0),
        at('a year before', 2025, 9, 1, 0),
      ),
    ).toEqual([
      ['pinned', 'kept'],
      ['today', 'just now'],
      ['yesterday', 'an hour ago', 'in the morning'],
      ['week', 'two days ago', 'a week ago'],
      ['month', 'eight days ago', 'thirty days ago'],
      ['2026-10', 'longer ago', 'in the same month'],
      ['2025-10', 'a year before'],
    ]))

  it('take a clock that is behind the gateway’s for today', () =>
    expect(groups(at('tomorrow', 2026, 10, 22, 9))).toEqual([['today', 'tomorrow']]))
})
