import { describe, expect, it } from 'vitest'
import { createRoster } from './roster.ts'

function connections() {
  const roster = createRoster<ReturnType<typeof come>>()
  const replaced: string[] = []
  let number = 0
  const come = (name: string, id = 'ada/rig') => {
    number += 1
    return { id, name, number, replaced: () => void replaced.push(name) }
  }
  return { roster, replaced, come }
}

describe('a lender that comes again', () => {
  it('keeps its place when its old connection ends late (defect 0.3 d: the old end removed the new entry)', () => {
    const { roster, replaced, come } = connections()
    const [old, fresh] = [come('old'), come('fresh')]
    roster.enter(old)
    roster.enter(fresh)
    expect(replaced).toEqual(['old'])
    roster.leave(old)
    expect(roster.get('ada/rig')).toBe(fresh)
    roster.leave(fresh)
    expect(roster.get('ada/rig')).toBeUndefined()
  })

  it('keeps its place when its old connection is ready only afterwards', () => {
    const { roster, replaced, come } = connections()
    const [slow, fresh] = [come('slow'), come('fresh')]
    expect(roster.enter(fresh)).toBe(true)
    expect(roster.enter(slow)).toBe(false)
    expect(replaced).toEqual(['slow'])
    roster.leave(slow)
    expect(roster.get('ada/rig')).toBe(fresh)
  })

  it('has one place, in whatever order three of its connections are ready and end', () => {
    const orders = [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ] as const
    for (const entering of orders)
      for (const leaving of orders) {
        const { roster, replaced, come } = connections()
        const all = [come('a'), come('b'), come('c')]
        for (const at of entering) roster.enter(all[at]!)
        expect(roster.all).toEqual([all[2]])
        expect(replaced).not.toContain('c')
        for (const at of leaving) {
          roster.leave(all[at]!)
          expect(roster.all).toEqual(leaving.indexOf(at) < leaving.indexOf(2) ? [all[2]] : [])
        }
      }
  })

  it('does not touch the lender of another person who gave it the same name', () => {
    const { roster, replaced, come } = connections()
    roster.enter(come('hers', 'ada/rig'))
    roster.enter(come('his', 'bob/rig'))
    expect(replaced).toEqual([])
    expect(roster.all).toHaveLength(2)
  })
})
