import type { UsageRow } from '@sotto/gateway/protocol/admin.ts'
import { describe, expect, it } from 'vitest'
import { readAmount } from './amount.ts'
import { budgetsOf, partyOf } from './budget.ts'
import { toCsv } from './csv.ts'
import { dailyLines, daysSince, linesBy, only, seriesBy, sumOf } from './usage.ts'

const row = (day: string, model: string, requests: number, tokens: number, key = ''): UsageRow => ({
  day,
  model,
  key,
  tenant: 'home',
  person: 'ada',
  device: 'phone',
  service: 'chat',
  requests,
  inputTokens: tokens,
  outputTokens: tokens,
})
const rows = [
  row('2026-11-20', 'small', 4, 10, 'bot'),
  row('2026-11-20', 'large', 1, 500),
  row('2026-11-22', 'small', 2, 5),
  row('2026-11-22', 'tiny', 1, 1),
]

describe('usage', () => {
  it('has every day, also those of which nothing is known', () => {
    expect(daysSince('2026-11-20', Date.parse('2026-11-22T00:00:00Z'))).toEqual([
      '2026-11-20',
      '2026-11-21',
      '2026-11-22',
    ])
  })

  it('is added up by what one wants it by, the largest first', () => {
    const names = (measure: 'requests' | 'tokens') => linesBy(rows, 'model', measure).map(({ name }) => name)
    expect(names('tokens')).toEqual(['large', 'small', 'tiny'])
    expect(names('requests')).toEqual(['small', 'large', 'tiny'])
    expect(sumOf(rows)).toEqual({ requests: 8, inputTokens: 516, outputTokens: 516, tokens: 1_032 })
  })

  it('is that of a name alone, of none too', () => {
    expect(sumOf(only(rows, { key: 'bot' })).requests).toBe(4)
    expect(sumOf(only(rows, { key: '', model: 'small' })).requests).toBe(2)
  })

  it('has the smaller names together, and one that would be alone there apart', () => {
    const days = ['2026-11-20', '2026-11-21', '2026-11-22']
    const stack = (apart: number) => seriesBy(rows, { by: 'model', measure: 'requests', days, apart })
    expect(stack(1)).toEqual([
      { name: 'small', values: [4, 0, 2] },
      { name: undefined, values: [1, 0, 1] },
    ])
    expect(stack(2).map(({ name }) => name)).toEqual(['small', 'large', 'tiny'])
  })

  it('goes into a file by day, where no name becomes a formula', () => {
    const lines = dailyLines([...rows, row('2026-11-19', '=cmd("x")', 1, 1)], 'model')
    const file = toCsv(
      ['day', 'model', 'requests'],
      lines.map(({ day, name, requests }) => [day, name, requests]),
    )
    expect(file.split('\r\n')).toEqual([
      '\uFEFFday,model,requests',
      `2026-11-19,"'=cmd(""x"")",1`,
      '2026-11-20,large,1',
      '2026-11-20,small,4',
      '2026-11-22,small,2',
      '2026-11-22,tiny,1',
      '',
    ])
  })
})

describe('an amount', () => {
  it.each([
    ['', null],
    [' 200000 ', 200_000],
    ['1.000.000', 1_000_000],
    ['1,000', 1_000],
    ['1 000', 1_000],
    ['0', 0],
    ['1.5', undefined],
    ['12,34', undefined],
    ['-1', undefined],
    ['many', undefined],
    ['99999999999999999999', undefined],
  ])('“%s” is read as %s', (text, amount) => {
    expect(readAmount(text)).toBe(amount)
  })
})

describe('a budget', () => {
  it('is near from four fifths of it, and over when all of it is spent', () => {
    const limits = {
      services: null,
      models: null,
      requestsPerMinute: 5,
      tokensPerMinute: null,
      concurrent: null,
      tokensPerDay: 100,
      tokensPerMonth: 100,
      tokensInTotal: 0,
    }
    expect(budgetsOf({ limits, spent: { day: 79, month: 80, total: 0 } })).toEqual([
      { part: 'tokensPerDay', spent: 79, limit: 100, level: 'fine' },
      { part: 'tokensPerMonth', spent: 80, limit: 100, level: 'near' },
      { part: 'tokensInTotal', spent: 0, limit: 0, level: 'over' },
    ])
  })

  it('is of a party whose name may hold anything', () => {
    expect(partyOf('key:a:b c')).toEqual({ kind: 'key', name: 'a:b c' })
    expect(partyOf('tenant:home')).toEqual({ kind: 'tenant', name: 'home' })
  })
})
