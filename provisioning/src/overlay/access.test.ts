import { describe, expect, it } from 'vitest'
import { groupByReach, mayReach, mayReachGateway, mayReachHost, type Rule } from './access.ts'

const [phone, laptop, guest] = [
  { id: 'phone', personId: 'ada' },
  { id: 'laptop', personId: 'ada' },
  { id: 'guest', personId: 'bob' },
] as const
const person = (id: string) => ({ kind: 'person', id }) as const
const device = (id: string) => ({ kind: 'device', id }) as const

describe('who may reach whom', () => {
  it('is by default one’s own devices and the gateway', () => {
    expect(mayReach(phone, laptop, [])).toBe(true)
    expect(mayReach(phone, guest, [])).toBe(false)
    expect(mayReachGateway(guest, [])).toBe(true)
    expect(mayReachHost(phone, [])).toBe(false)
  })

  it('is more by a rule, one way', () => {
    const rules: Rule[] = [{ action: 'allow', from: person('bob'), to: device('phone') }]
    expect(mayReach(guest, phone, rules)).toBe(true)
    expect(mayReach(guest, laptop, rules)).toBe(false)
    expect(mayReach(phone, guest, rules)).toBe(false)
    expect(mayReachHost(phone, [{ action: 'allow', from: { kind: 'all' }, to: { kind: 'host' } }])).toBe(true)
  })

  it('is less by a denial, whatever else allows it and in whichever order', () => {
    const allow: Rule = { action: 'allow', from: { kind: 'all' }, to: { kind: 'all' } }
    const deny: Rule = { action: 'deny', from: device('phone'), to: person('ada') }
    for (const rules of [
      [allow, deny],
      [deny, allow],
    ]) {
      expect(mayReach(phone, laptop, rules)).toBe(false)
      expect(mayReach(phone, guest, rules)).toBe(true)
      expect(mayReach(laptop, phone, rules)).toBe(true)
    }
    expect(mayReachGateway(phone, [allow])).toBe(true)
    expect(mayReachGateway(guest, [{ action: 'deny', from: person('bob'), to: { kind: 'gateway' } }])).toBe(
      false,
    )
  })

  it('is held for a thousand devices of one person by one group of a thousand', () => {
    const many = Array.from({ length: 1_000 }, (_, index) => ({ id: `${index}`, personId: 'ada' }))
    const groups = groupByReach([...many, guest], [])
    expect(groups.map(({ members, reaches }) => [members.length, reaches.length])).toEqual([
      [1_000, 1_000],
      [1, 1],
    ])
  })
})
