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
const inputSamples = contextSamples + frameSamples
/** Of each of its two layers. */
const stateNumbers = 128
/** A millisecond of this thread: alone a frame takes twelve times less than that, and in company thirty. */
const mostAtOnce = 32

interface Waiting {
  /** The frame with its context. */
  readonly samples: Float32Array
  /** Both layers; what the model makes of it is written here. */
  readonly state: Float32Array
  settle(speech: number): void
  fail(error: unknown): void
}

export async function loadVoiceActivity(): Promise<VoiceActivity> {
  const model = await InferenceSession.create(require.resolve('@ricky0123/vad-web/dist/silero_vad_v6.onnx'), {
    // One frame is a twelfth of a millisecond: threads would wait for one another longer than that.
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
  })
  const rate = new Tensor('int64', BigInt64Array.of(BigInt(inputSampleRate)), [])
  const waiting: Waiting[] = []
  let running = false

  const run = async (frames: readonly Waiting[]): Promise<void> => {
    const count = frames.length
    const samples = new Float32Array(count * inputSamples)
    const states = new Float32Array(2 * count * stateNumbers)
    for (const [index, frame] of frames.entries()) {
      samples.set(frame.samples, index * inputSamples)
      for (const layer of [0, 1])
        states.set(
          frame.state.subarray(layer * stateNumbers, (layer + 1) * stateNumbers),
          (layer * count + index) * stateNumbers,
        )
    }
    const { output, stateN } = await model.run({
      input: new Tensor('float32', samples, [count, inputSamples]),
      state: new Tensor('float32', states, [2, count, stateNumbers]),
      sr: rate,
    })
    if (!(stateN?.data instanceof Float32Array) || !(output?.data instanceof Float32Array))
      throw new TypeError('The voice activity model answers otherwise than version 6 does.')
    for (const [index, frame] of frames.entries()) {
      for (const layer of [0, 1]) {
        const from = (layer * count + index) * stateNumbers
        frame.state.set(stateN.data.subarray(from, from + stateNumbers), layer * stateNumbers)
      }
      frame.settle(output.data[index] ?? 0)
    }
  }
  /** The model works on this thread: what comes meanwhile from all microphones goes through it together. */
  const work = async (): Promise<void> => {
    running = true
    while (waiting.length > 0) {
      const frames = waiting.splice(0, mostAtOnce)
      await run(frames).catch((error: unknown) => {
        for (const frame of frames) frame.fail(error)
      })
    }
    running = false
  }
  return {
    open() {
      const samples = new Float32Array(inputSamples)
      const state = new Float32Array(2 * stateNumbers)
      return {
        hear(frame) {
          samples.copyWithin(0, frameSamples)
          samples.set(frame, contextSamples)
          return new Promise((settle, fail) => {
            waiting.push({ samples, state, settle, fail })
            if (!running) void work()
          })
        },
      }
    },
    close: () => model.release(),
  }
}
