/** What a client says: sound in, turns and their words out. */
import type { Logger } from 'pino'
import type { Engines } from '#engines/engine.ts'
import { queuesAs, type Member } from '#identity/caller.ts'
import type { Item, ServerEventBody } from '#protocol/events.ts'
import { inputSampleRate, type AudioFrame } from '#protocol/frame.ts'
import { asFailure } from '../failure.ts'
import type { Conversation } from './conversation.ts'
import { isEcho } from './echo.ts'
import { soundsWhole } from './end-of-turn.ts'
import { newId } from './id.ts'
import type { Event, State } from './machine.ts'
import { createMicrophone } from './microphone.ts'
import { silenceAfterWhole, turnSettings, type Settings } from './settings.ts'
import type { TurnTimings } from './timings.ts'
import { createTranscript, type Transcript } from './transcript.ts'
import type { TurnEvent } from './turns.ts'
import type { Listener } from './voice-activity.ts'

export interface InputDeps {
  readonly conversation: Conversation
  readonly engines: Engines
  readonly caller: Member
  readonly listener: Listener
  readonly timings: TurnTimings
  readonly log: Pick<Logger, 'error'>
  settings(): Settings
  state(): State
  dispatch(event: Event): void
  send(event: ServerEventBody): void
  /** What is being said to the client right now. */
  saying(): string
  /** What somebody says if they say no more: their answer may begin. */
  onGuess(words: string): void
  /** Ends with the session. */
  readonly signal: AbortSignal
}

/** What can't be taken: OpenAI's code, or one of ours, and what to do. */
export interface Fault {
  readonly code: string
  readonly message: string
}

export interface Input {
  /** PCM16 mono at 16 kHz that follows what came before. */
  hear(samples: Int16Array): Fault | undefined
  /** A frame of ours. Where some are missing before it, says so, and goes on from there. */
  frame(frame: AudioFrame): Fault | undefined
  /** Takes up the settings of the session, and whether an answer is heard. */
  configure(): void
  /** Makes ready for a commit, or says why there can be none: OpenAI's code, and what to do. */
  commit(): Fault | undefined
  announceStart(): void
  announceStop(): void
  take(): void
  /** Nobody said anything for so long, ms: an empty turn says so. */
  silent(ms: number): void
  judge(): void
  speculate(): void
  forget(): void
  drop(): void
  /** Resolves when every turn so far has its words, or has none. */
  settled(): Promise<void>
  close(): void
}

/** Longer than anyone speaks in one breath of a conversation; 120 s are 3.8 MB. */
const longestSamples = 120 * inputSampleRate
/** Below this a recording is a slip of the finger (OpenAI refuses it, too). */
const leastMs = 100
/** What may yet become a turn's prefix. */
const keptSamples = 6 * inputSampleRate
/** Turns that wait, while Whisper serves one after another. */
const mostWaiting = 4
/** Between two looks at what was said so far. */
const partialEverySamples = 0.7 * inputSampleRate

export function createInput(deps: InputDeps): Input {
  const { conversation, dispatch, engines, log, send, signal, timings } = deps
  const microphone = createMicrophone(deps.listener, onTurn, (error) => {
    log.error({ err: error }, 'voice activity failed')
    send({
      type: 'error',
      error: {
        type: 'server_error',
        code: 'voice_activity_failed',
        message: 'The gateway can’t hear when somebody speaks. Push to talk, or connect again.',
      },
    })
  })
  const { audio } = microphone
  /** The speech that goes on, or is being judged. */
  let turn: Transcript | undefined
  let itemId = ''
  /** Where its speech ends so far, and where it was decided that it has. */
  let pausedAt = 0
  let stoppedAt = 0
  /** Where what is not committed begins, when the client commits. */
  let from = 0
  let full = false
  let lost = 0
  let lookedAt = 0
  let unsent = ''
  let waiting = 0
  let last: Promise<void> = Promise.resolve()
  let ending: NodeJS.Timeout | undefined

  const begin = (at: number): Transcript => {
    const begun = createTranscript(
      at,
      {
        slice: audio.slice,
        transcribe(samples, urgency, abort) {
          const { language, prompt } = deps.settings().audio.input.transcription ?? {}
          return engines.transcriber.transcribe(samples, abort, {
            ...(language !== undefined && { language }),
            ...(prompt !== undefined && { prompt }),
            urgency,
            tenant: deps.caller.tenant.id,
            caller: queuesAs(deps.caller),
          })
        },
        onPartial({ delta, tail }) {
          unsent += delta
          const words = `${delta} ${tail}`
          if (deps.state().announced) tell(tail)
          else if (/[\p{L}\p{N}]/u.test(words) && !isEcho(words, deps.saying())) {
            dispatch({ kind: 'word' })
            tell(tail)
          }
        },
        onGuess(words) {
          // Of a turn that was taken meanwhile, its own words follow.
          if (turn !== begun) return
          if (words !== '') deps.onGuess(words)
          endEarly(words)
        },
      },
      signal,
    )
    return begun
  }
  const tell = (tail: string): void => {
    if (!deps.state().announced || deps.settings().audio.input.transcription === null) return
    if (unsent !== '')
      send({
        type: 'conversation.item.input_audio_transcription.delta',
        item_id: itemId,
        content_index: 0,
        delta: unsent,
      })
    unsent = ''
    send({ type: 'x.partial', item_id: itemId, tail })
  }
  /** What sounds whole is over after a shorter silence, where the session decides by words. */
  const endEarly = (words: string): void => {
    const whole = silenceAfterWhole(deps.settings().audio.input.turn_detection)
    if (whole === undefined || !soundsWhole(words)) return
    ending = setTimeout(
      () => {
        if (deps.state().input === 'pause') end()
      },
      Math.max(0, whole - microphone.silence),
    )
  }
  const end = (): void => {
    const silence = microphone.silence
    microphone.reset()
    ended(silence, audio.position)
  }
  const ended = (silence: number, at: number): void => {
    clearTimeout(ending)
    stoppedAt = at
    // Whoever speaks on and on has not paused.
    if (deps.state().input === 'speech') pausedAt = at
    timings.begin(silence)
    timings.mark('turn')
    dispatch({ kind: 'ended' })
  }

  function onTurn({ kind, at }: TurnEvent): void {
    if (signal.aborted) return
    const place = Math.round((at * inputSampleRate) / 1000)
    if (kind === 'ended') return ended(microphone.silence, place)
    if (kind === 'paused') pausedAt = place
    if (kind === 'started') {
      // Speech that follows one that is being judged belongs to it.
      if (turn && deps.state().judging) turn.forget()
      else turn = begin(place)
      lookedAt = turn.from
    }
    if (kind === 'resumed') clearTimeout(ending)
    dispatch({ kind })
  }

  const words = async (id: string, found: Promise<string>, samples: number): Promise<void> => {
    const content_index = 0
    try {
      const transcript = await found
      timings.mark('transcript')
      const item = spoken(id, transcript, 'completed')
      conversation.put(item)
      if (deps.settings().audio.input.transcription !== null)
        send({
          type: 'conversation.item.input_audio_transcription.completed',
          item_id: id,
          content_index,
          transcript,
          usage: { type: 'duration', seconds: samples / inputSampleRate },
        })
      send({ type: 'conversation.item.done', item, previous_item_id: conversation.before(id) })
      dispatch({ kind: transcript === '' ? 'nothing' : 'words' })
    } catch (error) {
      if (signal.aborted) return
      const failure = asFailure(error)
      log.error({ err: failure.cause ?? failure }, 'a recording could not be transcribed')
      const item = spoken(id, null, 'incomplete')
      conversation.put(item)
      const { code, message } = failure
      send({
        type: 'conversation.item.input_audio_transcription.failed',
        item_id: id,
        content_index,
        error: { type: 'server_error', code, message },
      })
      send({ type: 'conversation.item.done', item, previous_item_id: conversation.before(id) })
      dispatch({ kind: 'nothing' })
    }
  }
  /** Whisper invents words for silence, so it is not asked about it. */
  const wordsOf = async (one: Transcript, to: number): Promise<string> =>
    (await microphone.spokeSince(one.from)) ? one.finish(to) : ''

  const hear = (samples: Int16Array): Fault | undefined => {
    const byHand = !deps.settings().audio.input.turn_detection
    // What is not committed yet, or not even listened to: a client may send an hour at once.
    const held = audio.position - (byHand ? from : microphone.listened)
    if (held + samples.length > longestSamples) {
      // So that what follows is still in its place.
      lost += samples.length
      if (full) return undefined
      full = true
      return {
        code: 'input_audio_buffer_full',
        message: byHand
          ? `A turn holds at most ${longestSamples / inputSampleRate} seconds. Commit it, or clear it.`
          : 'Sound comes faster than it can be listened to, so some of it was dropped. Send it more slowly.',
      }
    }
    full = false
    microphone.hear(samples)
    const { input } = deps.state()
    if (turn && input !== 'idle') {
      if (input === 'speech' && audio.position - lookedAt >= partialEverySamples) {
        lookedAt = audio.position
        if (engines.transcriber.idle !== false) turn.partial(audio.position)
      }
      if (audio.position - turn.from > longestSamples) end()
    } else {
      if (!byHand) from = audio.position
      tidy()
    }
    return undefined
  }

  return {
    hear,
    frame({ stream, offset, samples }) {
      if (stream !== 0) return { code: 'invalid_audio', message: 'The microphone is stream 0.' }
      const expected = audio.position + lost
      // Sent again after a reconnect, and here already.
      if (offset + samples.length <= expected) return undefined
      const gap = Math.max(0, offset - expected)
      lost += gap
      const fault = hear(samples.subarray(Math.max(0, expected - offset)))
      return gap > 0
        ? {
            code: 'input_audio_gap',
            message: `A frame begins at sample ${offset}, but ${expected} came before it: ${gap} are missing.`,
          }
        : fault
    },
    configure() {
      const { turn_detection: detect } = deps.settings().audio.input
      microphone.configure(detect && turnSettings(detect, deps.state().playback !== 'silent'))
    },
    commit() {
      const start = turn?.from ?? from
      if (((audio.position - start) * 1000) / inputSampleRate < leastMs)
        return {
          code: 'input_audio_buffer_commit_empty',
          message: `A turn of speech has at least ${leastMs} ms of sound.`,
        }
      if (waiting >= mostWaiting)
        return {
          code: 'transcription_busy',
          message:
            'Earlier recordings still wait for their words, so this one was dropped. Wait, then say it again.',
        }
      pausedAt = audio.position
      stoppedAt = audio.position
      microphone.reset()
      timings.begin()
      timings.mark('turn')
      return undefined
    },
    announceStart() {
      itemId = newId('item')
      send({
        type: 'input_audio_buffer.speech_started',
        audio_start_ms: milliseconds(turn?.from ?? audio.position),
        item_id: itemId,
      })
    },
    announceStop() {
      send({
        type: 'input_audio_buffer.speech_stopped',
        audio_end_ms: milliseconds(stoppedAt),
        item_id: itemId,
      })
    },
    silent(ms) {
      const item = spoken(newId('item'), '', 'completed')
      const endMs = milliseconds(audio.position)
      send({
        type: 'input_audio_buffer.timeout_triggered',
        audio_start_ms: Math.max(0, endMs - ms),
        audio_end_ms: endMs,
        item_id: item.id,
      })
      conversation.put(item)
      const previous_item_id = conversation.before(item.id)
      send({ type: 'input_audio_buffer.committed', item_id: item.id, previous_item_id })
      send({ type: 'conversation.item.added', item, previous_item_id })
      send({ type: 'conversation.item.done', item, previous_item_id })
    },
    take() {
      const one = turn ?? begin(from)
      // Of the silence that ended it, none needs to be listened to.
      const to = pausedAt
      const id = itemId === '' ? newId('item') : itemId
      const item = spoken(id, null, 'in_progress')
      conversation.put(item)
      const before = conversation.before(id)
      send({ type: 'input_audio_buffer.committed', item_id: id, previous_item_id: before })
      send({ type: 'conversation.item.added', item, previous_item_id: before })
      const found = wordsOf(one, to)
      // Another turn's words may fail first.
      found.catch(() => {})
      waiting += 1
      last = last
        .then(() => words(id, found, to - one.from))
        .finally(() => {
          waiting -= 1
          tidy()
        })
      reset(stoppedAt)
    },
    judge() {
      const one = turn
      if (!one) return dispatch({ kind: 'noise' })
      one.finish(pausedAt).then(
        (heard) => {
          if (turn !== one) return
          if (heard !== '' && !isEcho(heard, deps.saying())) return dispatch({ kind: 'interruption' })
          if (deps.state().input === 'idle') reset(stoppedAt)
          dispatch({ kind: 'noise' })
        },
        () => {
          if (turn === one && deps.state().input === 'idle') reset(stoppedAt)
          dispatch({ kind: 'noise' })
        },
      )
    },
    speculate: () => turn?.speculate(pausedAt),
    forget() {
      clearTimeout(ending)
      turn?.forget()
    },
    drop() {
      turn?.drop()
      microphone.reset()
      reset(audio.position)
    },
    settled: () => last,
    close() {
      clearTimeout(ending)
      microphone.close()
    },
  }

  function reset(to: number): void {
    turn = undefined
    itemId = ''
    unsent = ''
    from = to
    full = false
    tidy()
  }

  /** Lets go of sound that nobody will ask for: what waits for its words is kept whole. */
  function tidy(): void {
    if (waiting > 0 || deps.state().judging) return
    const byHand = !deps.settings().audio.input.turn_detection
    audio.forget(
      Math.min(turn?.from ?? Infinity, byHand ? from : Infinity, microphone.listened - keptSamples),
    )
  }
}

function milliseconds(samples: number): number {
  return Math.round((samples * 1000) / inputSampleRate)
}

function spoken(id: string, transcript: string | null, status: Item['status']): Item {
  return {
    id,
    object: 'realtime.item',
    type: 'message',
    role: 'user',
    status,
    content: [{ type: 'input_audio', transcript }],
  }
}
