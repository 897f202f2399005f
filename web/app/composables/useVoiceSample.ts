import { outputSampleRate } from '@sotto/gateway/protocol/frame.ts'
import type { Sound } from './useSound'

export interface Sample {
  readonly input: string
  /** Left out for the gateway's own choice. */
  readonly voice: string | undefined
  readonly speed: number
}

/** Says a sentence as answers will be said. Another touch ends it. */
export function useVoiceSample(sound: Sound) {
  const { t } = useI18n()
  const gateway = useGateway()
  const saying = ref(false)
  const problem = ref<string>()
  let abort: AbortController | undefined
  let source: AudioBufferSourceNode | undefined

  /** MUST be called in a touch. */
  async function say(sample: Sample): Promise<void> {
    if (saying.value) return stop()
    const context = sound.unlock()
    const mine = (abort = new AbortController())
    problem.value = undefined
    saying.value = true
    try {
      const answer = await fetch(gateway.url('/v1/audio/speech'), {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ ...sample, response_format: 'pcm' }),
        signal: mine.signal,
      })
      if (!answer.ok) throw new Error(String(answer.status))
      const bytes = await answer.arrayBuffer()
      await play(context, new Int16Array(bytes, 0, Math.floor(bytes.byteLength / 2)))
    } catch {
      if (!mine.signal.aborted) problem.value = t('settings.voice.silent')
    } finally {
      if (abort === mine) stop()
    }
  }

  function play(context: AudioContext, samples: Int16Array): Promise<void> {
    const buffer = context.createBuffer(1, Math.max(1, samples.length), outputSampleRate)
    buffer.copyToChannel(
      Float32Array.from(samples, (sample) => sample / 32_768),
      0,
    )
    const playing = (source = new AudioBufferSourceNode(context, { buffer }))
    playing.connect(context.destination)
    playing.start()
    return new Promise((settle) => {
      playing.onended = () => settle()
    })
  }

  function stop(): void {
    abort?.abort()
    abort = undefined
    source?.stop()
    source = undefined
    saying.value = false
  }
  onBeforeUnmount(stop)
  return { saying, problem, say, stop }
}
