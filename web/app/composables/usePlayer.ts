import type { AudioFrame } from '@sotto/gateway/protocol/frame.ts'
import { loudness } from '~/realtime/loudness'
import { createPlayback, type Caption, type Cut, type Progress } from '~/realtime/playback'
import type { Sound } from './useSound'

/** Without a sample played for this long, what should sound does not. */
const stallMs = 1_000

/** The answers' sound, through the page's one audio context. */
export function usePlayer(
  { context, running, unlock }: Sound,
  reported: (itemId: string, playedMs: number) => void,
) {
  const playing = ref(false)
  /** The browser has stopped the sound, and takes it up again only by a touch. */
  const paused = ref(false)
  /** Of the answer that plays, or was the last to. */
  const playedMs = ref(0)
  /** Played softly: somebody may be interrupting. */
  const ducked = ref(false)
  const caption = shallowRef<Caption>({ itemId: '', said: '', coming: '' })
  const problem = ref<string>()
  const { t } = useI18n()
  const playback = createPlayback(reported)
  let node: AudioWorkletNode | undefined
  let meter: AnalyserNode | undefined
  const metered = new Float32Array(1_024)
  /** What came before the worklet was there. */
  let early: object[] = []
  let progressAt = 0
  let watchdog: ReturnType<typeof setInterval> | undefined

  async function connect(into: AudioContext): Promise<void> {
    await into.audioWorklet.addModule('/worklets/player.js')
    node = new AudioWorkletNode(into, 'player', { numberOfInputs: 0, outputChannelCount: [1] })
    node.port.onmessage = ({ data }: MessageEvent<Progress>) => progressed(data)
    meter = new AnalyserNode(into, { fftSize: metered.length })
    node.connect(meter).connect(into.destination)
    for (const message of early) node.port.postMessage(message)
    early = []
  }

  function tell(message: object): void {
    if (node) node.port.postMessage(message)
    else early.push(message)
  }

  function progressed(progress: Progress): void {
    progressAt = performance.now()
    paused.value = false
    playedMs.value = playback.progress(progress, progressAt) ?? playedMs.value
    playing.value = playback.active
    read()
  }

  /** Follows the sound: set anew only when a word was reached. */
  function read(): void {
    const now = playback.captioned
    const { itemId, said, coming } = caption.value
    if (now.itemId !== itemId || now.said !== said || now.coming !== coming) caption.value = now
  }

  function announce(...of: Parameters<typeof playback.announce>): void {
    playback.announce(...of)
    read()
  }

  /** The words of the sound that comes next. */
  function write(itemId: string, text: string): void {
    playback.caption(itemId, text)
    read()
  }

  /** How loud it is right now, 0 to 1. */
  function level(): number {
    if (!meter || !playing.value) return 0
    meter.getFloatTimeDomainData(metered)
    return loudness(metered, 1)
  }

  function play({ stream, samples }: AudioFrame): void {
    if (!playback.take(stream, samples.length)) return
    if (!playing.value) progressAt = performance.now()
    playing.value = true
    tell({ stream, samples })
  }

  function end(itemId: string): void {
    for (const stream of playback.end(itemId)) tell({ end: stream })
    playing.value = playback.active
  }

  /** Silences an answer at once, or all of them; resolves to how far each was. */
  function hush(itemId?: string): readonly Cut[] {
    const { streams, cuts } = playback.stop(itemId)
    for (const stream of streams) tell({ hush: stream })
    playing.value = playback.active
    if (!playing.value) duck(false)
    read()
    return cuts
  }

  function duck(on: boolean): void {
    ducked.value = on
    tell({ duck: on })
  }

  watch(context, (opened) => {
    if (!opened) return
    connect(opened).catch(() => {
      problem.value = t('talk.noPlayer')
    })
  })
  onMounted(() => {
    watchdog = setInterval(() => {
      const stalled = playback.waiting > 0 && performance.now() - progressAt > stallMs
      paused.value = stalled && !running.value
    }, stallMs / 2)
  })
  onBeforeUnmount(() => clearInterval(watchdog))
  return {
    playing,
    paused,
    playedMs,
    ducked,
    caption,
    problem,
    level,
    write,
    announce,
    play,
    end,
    hush,
    duck,
    resume: unlock,
  }
}

export type Player = ReturnType<typeof usePlayer>
