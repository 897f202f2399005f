import type { Caption } from '~/realtime/playback'
import type { Draft } from './useSession'

/** Below this a recording is a slip of the finger: 100 ms. */
const minTurnSamples = 1_600

/** A microphone that is muted goes on to be heard for so long, so that the turn before it ends: 3 s. */
const silenceSamples = 48_000

/**
 * Who has the word: the person, by touch or hands-free, or the answer.
 * @param first the conversation to begin with; undefined for a new one
 */
export function useTalk(first?: string) {
  const preferences = usePreferences()
  const handsFree = toRef(preferences, 'handsFree')
  /** No answer is heard. */
  const muted = computed({
    get: () => preferences.spoken === 'never',
    set: (on) => {
      preferences.spoken = on ? 'never' : 'talking'
    },
  })
  /** Whether the voice view is open: all is said aloud there. */
  const viewing = ref(false)
  const sound = useSound()
  const speaker = useSpeaker()
  const player = usePlayer(sound, (itemId, playedMs): void => session.played(itemId, playedMs))
  const session = useSession({
    first,
    player,
    handsFree,
    muted,
    aloud: computed(() => handsFree.value || viewing.value || preferences.spoken === 'always'),
    said(delta): void {
      if (session.speech.value === null && !muted.value) speaker.add(delta)
    },
    ended: speaker.finish,
    interrupted: speaker.stop,
  })
  const microphone = useMicrophone(sound, hear)
  useWakeLock(computed(() => handsFree.value && microphone.listening.value))

  const state = computed(() => {
    if (microphone.listening.value && !handsFree.value) return 'listening'
    const answer = session.answer.value
    if (player.playing.value || speaker.speaking.value) return 'speaking'
    if (answer && !answer.stopped) return answer.speaking ? 'speaking' : 'thinking'
    return microphone.listening.value ? 'listening' : 'idle'
  })
  /** Something can be stopped. */
  const answering = computed(() => Boolean(session.answer.value) || state.value === 'speaking')

  /** Samples of the turn that is being said by hand. */
  let said = 0
  /** Set while a turn is being begun: letting go before the microphone is open ends it as soon as it is. */
  let finishing = false
  let silent = 0

  function hear(samples: Int16Array): void {
    // What the browser itself says, it would hear, and answer itself.
    if (handsFree.value && speaker.speaking.value) return
    silent = microphone.muted.value ? silent + samples.length : 0
    if (silent > silenceSamples) return
    said += samples.length
    session.hear(samples)
  }

  /** The touch that gives the person the word. */
  async function start(): Promise<void> {
    const wasAnswering = answering.value
    stop()
    if (handsFree.value && wasAnswering && microphone.listening.value) return
    finishing = false
    if (!(await microphone.start())) return
    if (handsFree.value) return
    said = 0
    if (finishing) await finish()
  }

  /** The touch that gives it back: ends the turn, or hands-free the listening. */
  async function finish(): Promise<void> {
    finishing = true
    if (!microphone.listening.value) return
    if (handsFree.value) return microphone.release()
    await microphone.finish()
    if (said < minTurnSamples) session.drop()
    else session.commit()
  }

  async function setHandsFree(on: boolean): Promise<void> {
    if (microphone.listening.value && !on) session.drop()
    handsFree.value = on
    if (on) await microphone.start()
    else microphone.release()
  }

  function stop(): void {
    speaker.stop()
    session.stop()
  }

  /** The touch that opens the voice view: who talks hands-free talks at once. */
  async function view(): Promise<void> {
    viewing.value = true
    if (handsFree.value && !microphone.listening.value) await microphone.start()
  }

  /** Back to the thread: what is being answered goes on there as text. */
  function leave(): void {
    viewing.value = false
    if (microphone.listening.value) {
      session.drop()
      microphone.release()
    }
    hush()
  }

  function hush(): void {
    speaker.stop()
    player.hush()
  }

  function say(draft: Draft): void {
    stop()
    session.say(draft)
  }

  function open(id?: string, from?: string): void {
    speaker.stop()
    session.open(id, from)
  }

  const problem = computed(() => microphone.problem.value ?? player.problem.value ?? session.problem.value)
  function complain(text: string): void {
    session.problem.value = text
  }

  function dismiss(): void {
    microphone.problem.value = player.problem.value = session.problem.value = undefined
  }

  /** What is being said of the answer, as far as it was heard. */
  const caption = computed<Caption>(() => {
    if (!speaker.speaking.value) return player.caption.value
    const answer = session.messages.value.findLast(({ role }) => role === 'assistant')
    return { itemId: answer?.id ?? '', said: speaker.said.value, coming: '' }
  })

  watch(muted, (now) => now && hush())
  return {
    ...session,
    handsFree,
    muted,
    state,
    answering,
    problem,
    viewing,
    level: microphone.level,
    outputLevel: player.level,
    microphoneMuted: microphone.muted,
    microphone: microphone.device,
    interrupting: player.ducked,
    caption,
    listening: microphone.listening,
    echoes: computed(() => handsFree.value && microphone.listening.value && !microphone.cancelsEcho.value),
    paused: player.paused,
    playedMs: player.playedMs,
    start,
    finish,
    setHandsFree,
    stop,
    view,
    leave,
    say,
    open,
    dismiss,
    resume: player.resume,
    reader: speaker,
    sound,
    complain,
  }
}

export type Talk = ReturnType<typeof useTalk>
