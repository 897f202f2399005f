import { describe, expect, it } from 'vitest'
import { initial, step, type Effect, type Event, type State } from './machine.ts'

const turns = { answer: true, interrupt: true }
const kinds = [
  'lost',
  'back',
  'expired',
  'left',
  'started',
  'sustained',
  'paused',
  'resumed',
  'ended',
  'word',
  'interruption',
  'noise',
  'commit',
  'clear',
  'words',
  'nothing',
  'create',
  'cancel',
  'begun',
  'sound',
  'done',
  'played',
  'trusted',
] as const
const events: readonly Event[] = [
  ...kinds.map((kind) => ({ kind })),
  { kind: 'configure', turns: null },
  { kind: 'configure', turns },
  { kind: 'configure', turns: { answer: false, interrupt: true } },
  { kind: 'configure', turns: { answer: true, interrupt: false } },
]

/** Every state that any row of events leads to; the turns that wait are counted up to three. */
function reachable(): State[] {
  const found = new Map<string, State>([[JSON.stringify(initial), initial]])
  for (const state of found.values())
    for (const event of events) {
      const next = step(state, event).state
      if (next.unheard <= 3) found.set(JSON.stringify(next), next)
    }
  return [...found.values()]
}

const all = reachable()
const pairs = all.flatMap((state) => events.map((event) => ({ state, event, ...after(state, event) })))
function after(state: State, event: Event) {
  const made = step(state, event)
  return { next: made.state, effects: made.effects }
}
const where = (failing: (pair: (typeof pairs)[number]) => boolean) => pairs.filter(failing).slice(0, 3)
const has = (effects: readonly Effect[], ...wanted: Effect[]) => wanted.some((one) => effects.includes(one))
const count = (effects: readonly Effect[], wanted: Effect) => effects.filter((one) => one === wanted).length
const answering = ({ response }: State) => response === 'thinking' || response === 'speaking'

describe(`each of ${pairs.length} pairs of a state and an event`, () => {
  it('begins an answer only where none is, and says to end it before another begins', () => {
    expect(
      where(({ state, event, effects }) => {
        const begins = count(effects, 'answer') + count(effects, 'goOn')
        const ends = count(effects, 'cancel') + count(effects, 'breakOff') + (event.kind === 'done' ? 1 : 0)
        return begins > 1 || (begins === 1 && answering(state) && ends !== 1)
      }),
    ).toEqual([])
  })

  it('ends an answer exactly once: by its end, by a cancel, or by being broken off', () => {
    expect(
      where(({ state, event, next, effects }) => {
        const over = answering(state) && !answering(next) && next.link !== 'closed'
        const ends = count(effects, 'cancel') + count(effects, 'breakOff') + (event.kind === 'done' ? 1 : 0)
        return over && ends !== 1
      }),
    ).toEqual([])
  })

  it('has sound only with an answer, and none after a hush', () => {
    expect(
      where(({ next }) => next.playback !== 'silent' && !['speaking', 'draining'].includes(next.response)),
    ).toEqual([])
    expect(where(({ next, effects }) => effects.includes('hush') && next.playback !== 'silent')).toEqual([])
  })

  it('takes back each duck, by playing on or by silence', () => {
    expect(
      where(
        ({ state, next, effects }) =>
          state.playback === 'ducked' &&
          next.playback !== 'ducked' &&
          next.link !== 'closed' &&
          !has(effects, 'unduck', 'hush', 'overtake'),
      ),
    ).toEqual([])
    expect(
      where(
        ({ state, next, effects }) =>
          state.playback !== 'ducked' && next.playback === 'ducked' && !effects.includes('duck'),
      ),
    ).toEqual([])
  })

  it('tells of speech before it tells of its end, and takes only what it told of', () => {
    expect(
      where(({ state, event, effects }) => {
        const told = state.announced || effects.indexOf('announceStart') !== -1
        return (
          (effects.includes('announceStop') && !told) ||
          (effects.includes('take') && event.kind !== 'commit' && !told) ||
          (effects.includes('announceStart') && state.announced)
        )
      }),
    ).toEqual([])
  })

  it('keeps what was broken off until it is known whether it was an interruption', () => {
    expect(
      where(
        ({ state, next, effects }) =>
          state.brokeOff &&
          !next.brokeOff &&
          next.link !== 'closed' &&
          event(effects) !== 1 &&
          !cancels(effects, state),
      ),
    ).toEqual([])
    function event(effects: readonly Effect[]) {
      return count(effects, 'goOn') + count(effects, 'dropBrokenOff')
    }
    function cancels(effects: readonly Effect[], state: State) {
      return has(effects, 'cancel', 'hush', 'overtake') && !state.owing
    }
  })

  it('leaves nothing that is owed, and nobody mute, when all is quiet', () => {
    expect(
      where(
        ({ next }) =>
          next.link !== 'closed' &&
          next.input === 'idle' &&
          next.unheard === 0 &&
          !next.judging &&
          next.response === 'none' &&
          (next.owing || next.brokeOff),
      ),
    ).toEqual([])
  })

  it('does nothing more when the session is closed', () => {
    expect(where(({ state, effects }) => state.link === 'closed' && effects.length > 0)).toEqual([])
  })
})

/** What happens, in order, and what comes of it. */
function run(list: string, from: State = { ...initial, wary: false }) {
  let state = from
  const effects: Effect[] = []
  for (const kind of list.split(' ')) {
    const made = step(state, { kind } as Event)
    state = made.state
    effects.push(...made.effects)
  }
  return { state, effects }
}

describe('a session', () => {
  it('answers a turn', () => {
    const { effects, state } = run('started sustained paused ended words begun sound done played')
    expect(effects).toEqual(['announceStart', 'speculate', 'announceStop', 'take', 'answer'])
    expect(state).toEqual({ ...initial, wary: false })
  })

  it('ducks, and plays on after a cough', () => {
    const { effects, state } = run('create begun sound started paused ended')
    expect(effects).toEqual(['answer', 'duck', 'speculate', 'unduck', 'forgetSpeculation', 'dropInput'])
    expect(state.playback).toBe('playing')
  })

  it('stops for who goes on speaking, and answers them', () => {
    expect(run('create begun sound started sustained').effects).toEqual([
      'answer',
      'duck',
      'hush',
      'breakOff',
      'announceStart',
    ])
    expect(run('create begun sound started sustained paused ended words').effects.slice(5)).toEqual([
      'speculate',
      'announceStop',
      'take',
      'dropBrokenOff',
      'answer',
    ])
  })

  it('goes on where nothing was said after all (livekit 1229)', () => {
    for (const before of ['create', 'create begun', 'create begun sound'])
      expect(run(`${before} started sustained paused ended nothing`).effects.at(-1)).toBe('goOn')
  })

  it('is not interrupted by its own echo while the canceller learns, but by words', () => {
    const wary = { ...initial, wary: true }
    expect(run('create begun sound started sustained', wary).effects).toEqual(['answer', 'duck'])
    expect(run('create begun sound started sustained word', wary).effects).toContain('breakOff')
    expect(run('create begun sound started sustained paused ended', wary).effects.at(-1)).toBe('judge')
    expect(run('create begun sound started sustained paused ended noise', wary).state.playback).toBe(
      'playing',
    )
    expect(
      run('create begun sound started sustained paused ended interruption words', wary).effects.slice(-7),
    ).toEqual(['hush', 'breakOff', 'announceStart', 'announceStop', 'take', 'dropBrokenOff', 'answer'])
  })

  it('gives one answer to what was said in two breaths', () => {
    const { effects } = run('started sustained ended started sustained words ended words')
    expect(effects.filter((effect) => effect === 'answer')).toHaveLength(1)
    expect(effects.at(-1)).toBe('answer')
  })

  it('does not answer twice what was asked for by hand', () => {
    expect(
      run('started ended create words begun done').effects.filter((effect) => effect === 'answer'),
    ).toHaveLength(1)
  })

  it('gives no answer to nothing', () => {
    expect(run('started ended nothing').effects).not.toContain('answer')
  })

  it('lets a client come back in its time, and not after', () => {
    expect(run('lost back').state.link).toBe('live')
    expect(run('lost expired back').state.link).toBe('closed')
    expect(run('expired').state.link).toBe('live')
  })

  it('is not deaf after a client committed what was still being judged', () => {
    const wary = { ...initial, wary: true }
    for (const by of ['commit', 'clear']) {
      const { state } = run(`create begun sound started sustained paused ended ${by}`, wary)
      expect(state.judging).toBe(false)
    }
    const { effects } = run(
      'create begun sound started sustained paused ended commit words done played',
      wary,
    )
    expect(effects.filter((effect) => effect === 'answer')).toHaveLength(2)
  })
})
