import { describe, expect, it } from 'vitest'
import { findThreats, type Seen } from './threats.ts'

const now = Date.parse('2026-11-21T12:00:00')
const day = 86_400_000
const since = now - day

const seen = (rest: Partial<Seen> = {}): Seen => ({
  at: now,
  address: '10.77.0.2',
  device: 'phone',
  key: null,
  key_id: null,
  person: 'ada',
  path: '/api/chat',
  status: 200,
  refusal: null,
  ...rest,
})
const many = (count: number, make: (at: number) => Partial<Seen>): Seen[] =>
  Array.from({ length: count }, (_, at) => seen(make(at))).toSorted((one, other) => one.at - other.at)
const kinds = (rows: Seen[], uses: Parameters<typeof findThreats>[1] = []) =>
  findThreats(rows, uses, since).map(({ kind }) => kind)

describe('what looks wrong in the audit', () => {
  it('is a burst of refusals, and not as many over a day', () => {
    expect(kinds(many(20, (at) => ({ at: now - at * 1_000, status: 401 })))).toEqual(['failures'])
    expect(kinds(many(20, (at) => ({ at: now - at * 60_000, status: 401 })))).toEqual([])
    expect(kinds(many(19, (at) => ({ at: now - at * 1_000, status: 403, path: '/api/chat' })))).toEqual([])
  })

  it('is a look for paths, and not the same wrong path again and again', () => {
    expect(kinds(many(15, (at) => ({ at: now - at * 1_000, status: 404, path: `/v1/${at}` })))).toEqual([
      'path_scan',
    ])
    expect(kinds(many(40, (at) => ({ at: now - at * 1_000, status: 404, path: '/v1/x' })))).toEqual([])
  })

  it('is a budget that is tried again though it is spent', () => {
    const [threat] = findThreats(
      many(10, (at) => ({ at: now - at * 10_000, status: 429, refusal: 'quota', key: 'bot', key_id: 'k' })),
      [],
      since,
    )
    expect(threat).toMatchObject({
      kind: 'budget_probing',
      who: 'key “bot” on phone',
      facts: { count: 10 },
      command: './sotto key disable "bot"',
      device: 'phone',
      key: 'bot',
    })
  })

  it('is a key that comes from where it never came before', () => {
    const use = (address: string, first: number) => ({
      key_id: 'k',
      address,
      first_at: first,
      last_at: now,
      requests: 1,
    })
    const rows = [seen({ key: 'bot', key_id: 'k', address: '10.77.0.9', device: 'tablet' })]
    expect(kinds(rows, [use('10.77.0.2', now - 9 * day), use('10.77.0.9', now)])).toEqual(['new_address'])
    // A key that is new itself comes from somewhere.
    expect(kinds(rows, [use('10.77.0.9', now)])).toEqual([])
  })

  it('is a key in two places at once, and not one that moved', () => {
    const from = (address: string, at: number) => seen({ key: 'bot', key_id: 'k', address, at: now + at })
    expect(kinds([from('10.77.0.2', 0), from('10.77.0.9', 5_000), from('10.77.0.2', 9_000)])).toEqual([
      'two_places',
    ])
    expect(kinds([from('10.77.0.2', 0), from('10.77.0.9', 5_000), from('10.77.0.9', 9_000)])).toEqual([])
  })

  it('is somebody who is up at an hour that is not theirs', () => {
    const habit = many(10, (at) => ({ at: Date.parse('2026-11-19T09:00:00') - at * day }))
    const night = seen({ at: Date.parse('2026-11-21T03:00:00') })
    expect(kinds([...habit, night])).toEqual(['odd_hours'])
    expect(kinds([...habit, seen({ at: Date.parse('2026-11-21T10:00:00') })])).toEqual([])
    // Somebody new has no hours yet.
    expect(kinds([...habit.slice(0, 3), night])).toEqual([])
  })
})
