import type { AudioFrame } from '@sotto/gateway/protocol/frame.ts'
import { createPlayback, type Cut, type Progress } from '~/realtime/playback'
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
  const problem = ref<string>()
  const playback = createPlayback(reported)
  let node: AudioWorkletNode | undefined
  /** What came before the worklet was there. */
  let early: object[] = []
  let progressAt = 0
  let watchdog: ReturnType<typeof setInterval> | undefined

  async function connect(into: AudioContext): Promise<void> {
    await into.audioWorklet.addModule('/worklets/player.js')
    node = new AudioWorkletNode(into, 'player', { numberOfInputs: 0, outputChannelCount: [1] })
    node.port.onmessage = ({ data }: MessageEvent<Progress>) => progressed(data)
    node.connect(into.destination)
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
    return cuts
  }

  function duck(on: boolean): void {
    tell({ duck: on })
  }

  watch(context, (opened) => {
    if (!opened) return
    connect(opened).catch(() => {
      problem.value = 'The answers can’t be heard: the browser did not load what plays them. Reload the page.'
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
    problem,
    announce: playback.announce,
    play,
    end,
    hush,
    duck,
    resume: unlock,
  }
}

export type Player = ReturnType<typeof usePlayer>
