import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createTroubles } from './troubles.ts'

const told = { message: 'The disk is full.', remedy: 'df -h' }

beforeEach(() => vi.useFakeTimers({ toFake: ['Date', 'performance'] }))
afterEach(() => vi.useRealTimers())

describe('troubles', () => {
  it('last until they end, and each is begun once', () => {
    const troubles = createTroubles()
    expect(troubles.begin('disk_full', told)).toBe(true)
    const since = new Date().toISOString()
    vi.advanceTimersByTime(86_400_000)
    expect(troubles.begin('disk_full', told)).toBe(false)
    expect(troubles.list()).toEqual([{ kind: 'disk_full', since, over: false, ...told }])
    expect([troubles.end('disk_full'), troubles.end('disk_full')]).toEqual([true, false])
    expect(troubles.list()).toEqual([])
  })

  it('that are over by themselves are told of for an hour, whatever the clock says meanwhile', () => {
    const troubles = createTroubles()
    troubles.passed('clock', told)
    troubles.begin('disk_full', told)
    vi.setSystemTime(Date.now() + 86_400_000)
    expect(troubles.list().map(({ kind, over }) => [kind, over])).toEqual([
      ['disk_full', false],
      ['clock', true],
    ])
    vi.advanceTimersByTime(3_600_000)
    expect(troubles.list().map(({ kind }) => kind)).toEqual(['disk_full'])
  })

  it('that begin again after they were over last again', () => {
    const troubles = createTroubles()
    troubles.passed('interface', told)
    expect(troubles.end('interface')).toBe(false)
    expect(troubles.begin('interface', told)).toBe(true)
    expect(troubles.list()).toMatchObject([{ kind: 'interface', over: false }])
    troubles.passed('interface', told)
    expect(troubles.list()).toMatchObject([{ kind: 'interface', over: true }])
  })
})
