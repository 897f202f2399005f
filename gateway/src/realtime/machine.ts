/**
 * What a session does when something happens: pure, so that each pair of state and event can be looked at.
 *
 * Four small machines and one queue of events: the link to the client, what is heard, the answer, and its sound.
 * The session's other files say what happened, and carry out the effects, in order.
 */

export interface State {
  /** `detached`: the client is away, and may come back to what goes on meanwhile. */
  readonly link: 'live' | 'detached' | 'closed'
  readonly input: 'idle' | 'speech' | 'pause'
  /** `draining`: all of it is with the client, and some of it not heard yet. */
  readonly response: 'none' | 'thinking' | 'speaking' | 'draining'
  /** `ducked`: somebody may be interrupting. */
  readonly playback: 'silent' | 'playing' | 'ducked'
  /** Whether the client was told of the speech that goes on. */
  readonly announced: boolean
  /** The speech that goes on is too long for a cough, and may still be the echo of our own voice. */
  readonly lasting: boolean
  /** It has ended, and its words say which it was. */
  readonly judging: boolean
  /** How many turns wait for their words. */
  readonly unheard: number
  /** What is being heard broke an answer off: without words that answer goes on. */
  readonly brokeOff: boolean
  /** Somebody said words that are to be answered as soon as that can be. */
  readonly owing: boolean
  /** The answer was asked for before the words were known that it is to answer. */
  readonly waits: boolean
  /** The client's echo canceller is still learning: words interrupt, sounds do not. */
  readonly wary: boolean
  /** What the session wants of turns; null where the client commits them itself. */
  readonly turns: null | { readonly answer: boolean; readonly interrupt: boolean }
}

export type Event =
  | {
      readonly kind: /** Of the connection. */
        | 'lost'
        | 'back'
        | 'expired'
        | 'left'
        /** Voice activity: speech began, has lasted too long for a cough, pauses, goes on, has ended. */
        | 'started'
        | 'sustained'
        | 'paused'
        | 'resumed'
        | 'ended'
        /** While somebody speaks over an answer: a word of theirs is known. */
        | 'word'
        /** They have ended, and it was an interruption, or it was not. */
        | 'interruption'
        | 'noise'
        | 'commit'
        | 'clear'
        /** A turn's words are known, or it has none. */
        | 'words'
        | 'nothing'
        | 'create'
        | 'cancel'
        /** Of the answer: its first output is there, its first sound leaves, all of it is out, all was heard. */
        | 'begun'
        | 'sound'
        | 'done'
        | 'played'
        /** The echo canceller has had its time. */
        | 'trusted'
    }
  | { readonly kind: 'configure'; readonly turns: State['turns'] }

export type Effect =
  | 'detach'
  | 'attach'
  | 'close'
  /** Tell the client that somebody speaks, or has stopped. */
  | 'announceStart'
  | 'announceStop'
  /** Make the speech an item and find its words. */
  | 'take'
  /** Find its words, without a word to the client. */
  | 'judge'
  /** Begin with the words, and the answer, while the speech may yet go on. */
  | 'speculate'
  | 'forgetSpeculation'
  | 'dropInput'
  | 'duck'
  | 'unduck'
  /** Stop the sound; what was not heard was not said. */
  | 'hush'
  | 'answer'
  /** Another answer begins: the sound of the one before is over, where the client is ours. */
  | 'overtake'
  /** End the answer: nobody wants it. */
  | 'cancel'
  /** Take the answer from the client, and keep it: it goes on should the interruption be none. */
  | 'breakOff'
  | 'goOn'
  | 'dropBrokenOff'
  | 'refuseActive'
  | 'refuseNone'

export interface Step {
  readonly state: State
  readonly effects: readonly Effect[]
}

export const initial: State = {
  link: 'live',
  input: 'idle',
  response: 'none',
  playback: 'silent',
  announced: false,
  lasting: false,
  judging: false,
  unheard: 0,
  brokeOff: false,
  owing: false,
  waits: false,
  wary: true,
  turns: { answer: true, interrupt: true },
}

export function step(state: State, event: Event): Step {
  if (state.link === 'closed') return { state, effects: [] }
  const first = move(state, event)
  const then = due(first.state)
  return { state: then.state, effects: [...first.effects, ...then.effects] }
}

function move(state: State, event: Event): Step {
  switch (event.kind) {
    case 'lost':
      return state.link === 'live' ? to(state, { link: 'detached' }, 'detach') : to(state)
    case 'back':
      return to(state, { link: 'live' }, 'attach')
    case 'expired':
      return state.link === 'detached' ? to(state, { link: 'closed' }, 'close') : to(state)
    case 'left':
      return to(state, { link: 'closed' }, 'close')
    case 'started':
      return started(state)
    case 'sustained':
      if (state.input === 'idle') return to(state)
      return state.wary && state.playback !== 'silent' ? to(state, { lasting: true }) : meant(state)
    case 'word':
      // Whisper hears words in a cough, too.
      return state.lasting ? meant(state) : to(state)
    case 'paused':
      return state.input === 'speech' ? to(state, { input: 'pause' }, 'speculate') : to(state)
    case 'resumed':
      return state.input === 'pause' ? to(state, { input: 'speech' }, 'forgetSpeculation') : to(state)
    case 'ended':
      return ended(state)
    case 'interruption':
      return interruption(state)
    case 'noise':
      return state.judging ? noise({ ...state, judging: false }) : to(state)
    case 'commit':
      return to(
        state,
        { ...quiet, ...unducked(state), judging: false, unheard: state.unheard + 1 },
        ...calm(state),
        ...stopped(state),
        'take',
      )
    case 'clear':
      return to(state, { ...quiet, ...unducked(state), judging: false }, ...calm(state), ...dropped(state))
    case 'words':
      return words(state)
    case 'nothing':
      return to(state, heard(state))
    case 'create':
      return isAnswering(state) ? to(state, {}, 'refuseActive') : answer(state, state.unheard > 0)
    case 'cancel':
      return cancelled(state)
    case 'begun':
      return state.response === 'thinking' ? to(state, { response: 'speaking' }) : to(state)
    case 'sound':
      return state.response === 'speaking' && state.playback === 'silent'
        ? to(state, { playback: 'playing' })
        : to(state)
    case 'done':
      return done(state)
    case 'played':
      return played(state)
    case 'trusted':
      return to(state, { wary: false })
    case 'configure':
      return configured(state, event.turns)
    default:
      return to(state)
  }
}

/** What was being heard, where turns are no more, is the client's to commit now. */
function configured(state: State, turns: State['turns']): Step {
  if (turns) return to(state, { turns })
  return to(state, { ...quiet, ...unducked(state), judging: false, turns }, ...calm(state), ...stopped(state))
}

/** What is due whenever nobody speaks and nothing else is on its way. */
function due(state: State): Step {
  const free = state.input === 'idle' && state.unheard === 0 && state.response === 'none' && !state.judging
  if (!free || state.link === 'closed') return to(state)
  if (state.owing) return answer(state, false)
  if (state.brokeOff) return to(state, { brokeOff: false, response: 'thinking' }, 'goOn')
  return to(state)
}

const quiet = { input: 'idle', announced: false, lasting: false } as const

function to(state: State, change: Partial<State> = {}, ...effects: Effect[]): Step {
  return { state: { ...state, ...change }, effects }
}

/** An answer is on its way, which no other may overtake. */
function isAnswering({ response }: State): boolean {
  return response === 'thinking' || response === 'speaking'
}

/** What takes a duck back, where nobody else speaks. */
function calm({ playback }: State): Effect[] {
  return playback === 'ducked' ? ['unduck'] : []
}

function unducked({ playback }: State): Pick<State, 'playback'> {
  return { playback: playback === 'ducked' ? 'playing' : playback }
}

function stopped({ announced }: State): Effect[] {
  return announced ? ['announceStop'] : []
}

function dropped({ input }: State): Effect[] {
  return input === 'pause' ? ['forgetSpeculation', 'dropInput'] : ['dropInput']
}

/** Over an answer's sound it may be a cough or an echo, so that is played softly first. */
function started(state: State): Step {
  if (state.input !== 'idle' || !state.turns) return to(state)
  if (state.playback === 'silent' || !state.turns.interrupt)
    return to(state, { input: 'speech', announced: true }, 'announceStart')
  return state.playback === 'ducked'
    ? to(state, { input: 'speech' })
    : to(state, { input: 'speech', playback: 'ducked' }, 'duck')
}

/** It was no cough: what is being answered is not what they say now. */
function meant(state: State): Step {
  if (state.input === 'idle' || !state.turns) return to(state)
  const told: Effect[] = state.announced ? [] : ['announceStart']
  if (!state.turns.interrupt || isQuiet(state)) return to(state, { announced: true }, ...told)
  return to(state, { ...silenced, announced: true, brokeOff: true }, 'hush', 'breakOff', ...told)
}

const silenced = { response: 'none', playback: 'silent', waits: false } as const

function ended(state: State): Step {
  if (state.input === 'idle') return to(state)
  if (state.announced) return to(state, { ...quiet, unheard: state.unheard + 1 }, 'announceStop', 'take')
  if (state.lasting) return to(state, { ...quiet, judging: true }, 'judge')
  return to(state, { ...quiet, ...unducked(state) }, ...calm(state), ...dropped(state))
}

/** Who speaks again already may yet interrupt. */
function noise(state: State): Step {
  return state.input === 'idle' ? to(state, unducked(state), ...calm(state)) : to(state)
}

function interruption(state: State): Step {
  if (!state.judging) return to(state)
  const judged = { ...state, judging: false }
  // Who speaks again already goes on with the same turn.
  if (state.input !== 'idle') return meant(judged)
  const over: Effect[] = isQuiet(state) ? [] : ['hush', 'breakOff']
  return to(
    judged,
    { ...silenced, brokeOff: state.brokeOff || over.length > 0, unheard: state.unheard + 1 },
    ...over,
    'announceStart',
    'announceStop',
    'take',
  )
}

function isQuiet({ response }: State): boolean {
  return response === 'none'
}

function heard(state: State): Pick<State, 'unheard' | 'waits'> {
  const unheard = Math.max(0, state.unheard - 1)
  return { unheard, waits: state.waits && unheard > 0 }
}

function words(state: State): Step {
  const dropping: Effect[] = state.brokeOff ? ['dropBrokenOff'] : []
  // Who asked for the answer already waits for just these words.
  const owing = state.owing || (state.turns?.answer === true && !state.waits)
  return to(state, { ...heard(state), brokeOff: false, owing }, ...dropping)
}

function answer(state: State, waits: boolean): Step {
  const dropping: Effect[] = state.brokeOff ? ['dropBrokenOff'] : []
  const over: Effect[] = state.playback === 'silent' ? [] : [...calm(state), 'overtake']
  return to(
    state,
    { response: 'thinking', playback: 'silent', owing: false, brokeOff: false, waits },
    ...dropping,
    ...over,
    'answer',
  )
}

function cancelled(state: State): Step {
  const change = { ...silenced, owing: false, brokeOff: false }
  if (isAnswering(state)) return to(state, change, ...calm(state), 'hush', 'cancel')
  if (state.playback !== 'silent') return to(state, change, ...calm(state), 'hush')
  return to(state, {}, 'refuseNone')
}

function done(state: State): Step {
  if (!isAnswering(state)) return to(state)
  return to(state, { response: state.playback === 'silent' ? 'none' : 'draining', waits: false })
}

function played(state: State): Step {
  // Between two sentences an answer may make one wait.
  if (state.response !== 'draining') return to(state)
  const over = to(state, { response: 'none', playback: 'silent' }, ...calm(state))
  if (state.input === 'idle' || state.announced) return over
  // What began over the sound goes on without it.
  return to(over.state, { announced: true }, ...over.effects, 'announceStart')
}
