/** What the microphone sent since the last commit: bounded, gapless, one piece when it is needed. */
import { inputSampleRate, type AudioFrame } from '#protocol/frame.ts'

export interface InputAudio {
  /** Milliseconds held. */
  readonly milliseconds: number
  /**
   * Takes a frame, or says in one sentence why not; what was held stays. Said once: fifty frames come each
   * second, and those that follow a lost one are dropped without a word until the next turn.
   */
  append(frame: AudioFrame): { readonly code: string; readonly message: string } | undefined
  /** All samples, and begins anew. */
  take(): Int16Array
  clear(): void
}

/** Longer than anyone speaks in one breath of a conversation; 120 s are 3.8 MB. */
const maxSamples = 120 * inputSampleRate

export function createInputAudio(): InputAudio {
  let frames: Int16Array[] = []
  let samples = 0
  let faulty = false
  const clear = (): void => {
    frames = []
    samples = 0
    faulty = false
  }
  return {
    get milliseconds() {
      return (samples * 1000) / inputSampleRate
    },
    append(frame) {
      if (faulty) return undefined
      faulty = true
      if (frame.offset !== samples)
        return {
          code: 'input_audio_gap',
          message: `A frame begins at sample ${frame.offset}, but ${samples} samples came before it. Send input_audio_buffer.clear and begin again at 0.`,
        }
      if (samples + frame.samples.length > maxSamples)
        return {
          code: 'input_audio_buffer_full',
          message: `A turn holds at most ${maxSamples / inputSampleRate} seconds. Commit it, or clear it.`,
        }
      faulty = false
      frames.push(frame.samples)
      samples += frame.samples.length
      return undefined
    },
    take() {
      const whole = new Int16Array(samples)
      let at = 0
      for (const frame of frames) {
        whole.set(frame, at)
        at += frame.length
      }
      clear()
      return whole
    },
    clear,
  }
}
