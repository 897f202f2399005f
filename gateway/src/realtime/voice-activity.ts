/**
 * How likely each 32 ms of sound are speech: Silero's model, version 6, on this process's CPU. One model serves
 * all sessions; each has a state of one kilobyte.
 * Source: snakers4/silero-vad, `OnnxWrapper`; weights (MIT) as @ricky0123/vad-web brings them.
 */
import { createRequire } from 'node:module'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { inputSampleRate } from '#protocol/frame.ts'

export interface VoiceActivity {
  /** A listener of its own for each microphone. */
  open(): Listener
  close(): Promise<void>
}

export interface Listener {
  /** How likely these samples are speech, 0 to 1. One call at a time. */
  hear(frame: Float32Array): Promise<number>
}

const require = createRequire(import.meta.url)

/** Samples of a frame at 16 kHz, PCM as -1 to 1. */
export const frameSamples = 512
/** Of the frame before: without them version 6 hears no speech at all. */
const contextSamples = 64
const stateShape = [2, 1, 128]

export async function loadVoiceActivity(): Promise<VoiceActivity> {
  const model = await InferenceSession.create(require.resolve('@ricky0123/vad-web/dist/silero_vad_v6.onnx'), {
    // One frame is a twelfth of a millisecond: threads would wait for one another longer than that.
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
  })
  const rate = new Tensor('int64', BigInt64Array.of(BigInt(inputSampleRate)), [])
  return {
    open() {
      const samples = new Float32Array(contextSamples + frameSamples)
      const input = new Tensor('float32', samples, [1, samples.length])
      let state: Tensor = new Tensor('float32', new Float32Array(2 * 128), stateShape)
      return {
        async hear(frame) {
          samples.copyWithin(0, frameSamples)
          samples.set(frame, contextSamples)
          const { output, stateN } = await model.run({ input, state, sr: rate })
          if (!(stateN instanceof Tensor) || !(output?.data instanceof Float32Array))
            throw new TypeError('The voice activity model answers otherwise than version 6 does.')
          state = stateN
          return output.data[0] ?? 0
        },
      }
    },
    close: () => model.release(),
  }
}
