/** Below this a recording is a slip of the finger: 100 ms. */
const minTurnSamples = 1_600

/** Who has the word: the person, by touch or hands-free, or the answer. */
export function useTalk() {
  const handsFree = useHandsFree()
  const muted = ref(false)
  const sound = useSound()
  const speaker = useSpeaker()
  const player = usePlayer(sound, (itemId, playedMs): void => session.played(itemId, playedMs))
  const session = useSession({
    player,
    handsFree,
    muted,
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

  function hear(samples: Int16Array): void {
    // What the browser itself says, it would hear, and answer itself.
    if (handsFree.value && speaker.speaking.value) return
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

  function say(text: string): void {
    stop()
    session.say(text)
  }

  const problem = computed(() => microphone.problem.value ?? player.problem.value ?? session.problem.value)
  function dismiss(): void {
    microphone.problem.value = player.problem.value = session.problem.value = undefined
  }

  watch(muted, (now) => {
    if (!now) return
    speaker.stop()
    player.hush()
  })
  return {
    ...session,
    handsFree,
    muted,
    state,
    answering,
    problem,
    level: microphone.level,
    listening: microphone.listening,
    echoes: computed(() => handsFree.value && microphone.listening.value && !microphone.cancelsEcho.value),
    paused: player.paused,
    playedMs: player.playedMs,
    start,
    finish,
    setHandsFree,
    stop,
    say,
    dismiss,
    resume: player.resume,
  }
}
