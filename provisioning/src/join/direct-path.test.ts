import { describe, expect, it } from 'vitest'
import type { DirectPeer } from '#enrolment/exchange.ts'
import { createDirectPath, type DirectPath, type Effect } from './direct-path.ts'

const own = { observed: '198.51.100.1:40000', listenPort: 40_000 }
const peer: DirectPeer = {
  id: '2',
  name: 'laptop',
  publicKey: 'KEY=',
  presharedKey: 'PSK=',
  address4: '10.77.0.3',
  address6: 'fd00::3',
  observed: '198.51.100.2:50000',
  candidates: ['192.168.1.7:50000'],
}

/** Ticks twice a second until `until`, and gives each effect with its time in ms. */
function run(path: DirectPath, from: number, until: number, busy = false): [number, Effect][] {
  const effects: [number, Effect][] = []
  for (let now = from; now < until; now += 500)
    effects.push(...path.tick(now, busy).map((effect): [number, Effect] => [now, effect]))
  return effects
}

const kinds = (effects: readonly [number, Effect][]) => effects.map(([, { kind }]) => kind)
const answer = (path: DirectPath, now: number, times: number) =>
  Array.from({ length: times }).flatMap(() => path.answered(now).map(({ kind }) => kind))

function directPath(): DirectPath {
  const path = createDirectPath(peer, own)
  path.tick(0, false)
  expect(answer(path, 100, 3)).toEqual(['promote'])
  return path
}

describe('a direct path', () => {
  it('is probed at the endpoint that the hub sees, and carries nothing before it was answered thrice', () => {
    const path = createDirectPath(peer, own)
    expect(path.tick(0, false)).toEqual([{ kind: 'dial', endpoint: '198.51.100.2:50000' }, { kind: 'ask' }])
    expect(path.status).toEqual({ state: 'probing', reason: null })
    expect(answer(path, 300, 2)).toEqual([])
    expect(path.status.state).toBe('probing')
    expect(answer(path, 800, 1)).toEqual(['promote'])
    expect(path.status).toEqual({ state: 'direct', reason: null })
  })

  it('is not dialled anew while answers come', () => {
    const path = createDirectPath(peer, own)
    path.tick(0, false)
    answer(path, 6_900, 1)
    expect(kinds(run(path, 7_000, 13_500))).not.toContain('dial')
  })

  it('begins on the inside where both are behind one NAT', () => {
    const path = createDirectPath({ ...peer, observed: '198.51.100.1:50000' }, own)
    const dialled = run(path, 0, 20_000).flatMap(([, effect]) =>
      effect.kind === 'dial' ? [effect.endpoint] : [],
    )
    expect(dialled).toEqual(['192.168.1.7:50000', '198.51.100.1:50000'])
  })

  it('tries an address of the internet that the other has itself', () => {
    const path = createDirectPath({ ...peer, candidates: ['[2001:db8::7]:50000', '[fd00::1]:50000'] }, own)
    const dialled = run(path, 0, 20_000).flatMap(([, effect]) =>
      effect.kind === 'dial' ? [effect.endpoint] : [],
    )
    expect(dialled).toEqual(['198.51.100.2:50000', '[2001:db8::7]:50000'])
  })

  it('is given up where nobody answers, says why, and is tried again when the other does so too', () => {
    const path = createDirectPath(peer, own)
    expect(kinds(run(path, 1_000, 10_000)).at(-1)).toBe('hangUp')
    expect(path.status).toEqual({
      state: 'relayed',
      reason: 'No answer from laptop at 198.51.100.2:50000: a firewall between the two drops UDP.',
    })
    const later = run(path, 10_000, 61_000)
    expect(later[0]).toEqual([60_000, { kind: 'dial', endpoint: '198.51.100.2:50000' }])
  })

  it('names the NAT that picks ports of its own', () => {
    const there = createDirectPath({ ...peer, observed: '198.51.100.2:61000' }, own)
    run(there, 0, 10_000)
    expect(there.status.reason).toContain('the NAT of laptop (UDP 50000 became 61000) picks ports of its own')
    const here = createDirectPath(peer, { observed: '198.51.100.1:1025', listenPort: 40_000 })
    run(here, 0, 10_000)
    expect(here.status.reason).toContain("this device's NAT (UDP 40000 became 1025)")
  })

  it('is tried at once when the hub sees the other elsewhere', () => {
    const path = createDirectPath(peer, own)
    run(path, 0, 10_000)
    path.update({ ...peer, observed: '198.51.100.9:50000' }, own)
    expect(path.tick(10_000, false)[0]).toEqual({ kind: 'dial', endpoint: '198.51.100.9:50000' })
  })

  it('waits for the hub to see the other', () => {
    const path = createDirectPath({ ...peer, observed: null }, own)
    expect(run(path, 0, 5_000)).toEqual([])
    expect(path.status).toEqual({ state: 'probing', reason: 'The hub does not see laptop yet.' })
    path.update(peer, own)
    expect(kinds(run(path, 5_000, 5_500))).toEqual(['dial', 'ask'])
  })

  it('is left within two seconds of silence while it is in use, and within ten while it is not', () => {
    for (const [busy, within] of [
      [true, 2_500],
      [false, 10_000],
    ] as const) {
      const effects = run(directPath(), 500, 20_000, busy)
      const [at] = effects.find(([, { kind }]) => kind === 'demote') ?? []
      expect(at, String(busy)).toBeLessThanOrEqual(within)
      const after = effects.filter(([now]) => now > (at ?? 0))
      // What the other end still sends this way is taken, and the path is dialled anew only then.
      expect(after.find(([, { kind }]) => kind === 'dial')?.[0]).toBeGreaterThan((at ?? 0) + 5_000)
      expect(after[0]?.[1].kind).toBe('ask')
    }
  })

  it('is taken again when the silence was only a pause, without a new handshake', () => {
    const path = directPath()
    const effects = run(path, 500, 4_000, true)
    expect(kinds(effects)).toContain('demote')
    expect(kinds(effects)).not.toContain('dial')
    expect(answer(path, 4_000, 3)).toEqual(['promote'])
  })

  it('stays while it is answered, whatever the hub says of the other', () => {
    const path = directPath()
    path.update({ ...peer, observed: null }, own)
    path.update({ ...peer, observed: '198.51.100.9:1' }, own)
    for (let now = 500; now < 60_000; now += 500)
      for (const { kind } of path.tick(now, false)) {
        expect(kind).toBe('ask')
        path.answered(now)
      }
    expect(path.status.state).toBe('direct')
  })
})
