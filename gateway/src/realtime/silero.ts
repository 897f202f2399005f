/**
 * Silero's model, version 6, with a state of one kilobyte for each microphone.
 * Source: snakers4/silero-vad, `OnnxWrapper`; weights (MIT) as @ricky0123/vad-web brings them.
 */
import { createRequire } from 'node:module'
import { InferenceSession, Tensor } from 'onnxruntime-node'

/** Samples of a frame at 16 kHz. */
export const frameSamples = 512
/** Of the frame before: without them version 6 hears no speech at all. */
const contextSamples = 64
const inputSamples = contextSamples + frameSamples
/** Of each of its two layers. */
const stateNumbers = 128

/** What it remembers of a microphone. */
export interface Memory {
  readonly context: Float32Array
  readonly state: Float32Array
}

export interface Silero {
  /**
   * How likely the next frame of each microphone is speech. All that came at once goes through the model
   * together: thirty cost a third of thirty alone.
   *
   * @param samples a frame for each memory, one after another
   */
  hear(memories: readonly Memory[], samples: Float32Array): Promise<Float32Array>
  close(): Promise<void>
}

const require = createRequire(import.meta.url)

export function newMemory(): Memory {
  return { context: new Float32Array(contextSamples), state: new Float32Array(2 * stateNumbers) }
}

/**
 * It works on the thread that asks it. ONNX Runtime stays below 1.29, which sends its maker word of each model that
 * it loads. Source: microsoft/onnxruntime pull request 27379.
 */
export async function loadSilero(): Promise<Silero> {
  const model = await InferenceSession.create(
    require.resolve('@ricky0123/vad-web/dist/silero_vad_v6.onnx'),
    // One frame is a twelfth of a millisecond: threads would wait for one another longer than that.
    { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: 'sequential' },
  )
  const rate = new Tensor('int64', BigInt64Array.of(16_000n), [])
  const hear: Silero['hear'] = async (memories, samples) => {
    const count = memories.length
    const input = new Float32Array(count * inputSamples)
    const states = new Float32Array(2 * count * stateNumbers)
    for (const [index, { context, state }] of memories.entries()) {
      const frame = samples.subarray(index * frameSamples, (index + 1) * frameSamples)
      input.set(context, index * inputSamples)
      input.set(frame, index * inputSamples + contextSamples)
      context.set(frame.subarray(-contextSamples))
      for (const layer of [0, 1])
        states.set(
          state.subarray(layer * stateNumbers, (layer + 1) * stateNumbers),
          (layer * count + index) * stateNumbers,
        )
    }
    const { output, stateN } = await model.run({
      input: new Tensor('float32', input, [count, inputSamples]),
      state: new Tensor('float32', states, [2, count, stateNumbers]),
      sr: rate,
    })
    if (!(stateN?.data instanceof Float32Array) || !(output?.data instanceof Float32Array))
      throw new TypeError('The voice activity model answers otherwise than version 6 does.')
    for (const [index, { state }] of memories.entries())
      for (const layer of [0, 1]) {
        const from = (layer * count + index) * stateNumbers
        state.set(stateN.data.subarray(from, from + stateNumbers), layer * stateNumbers)
      }
    return Float32Array.from(output.data)
  }
  // The first run makes room for what all others need.
  await hear([newMemory()], new Float32Array(frameSamples))
  return { hear, close: () => model.release() }
}
