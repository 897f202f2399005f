/**
 * The worker that listens: Silero's model, version 6, with a state of one kilobyte for each microphone. On a
 * thread of its own, since onnxruntime-node works on the thread that asks it, and a hundred people who talk at
 * once would hold every stream up by a third of a core.
 * Source: snakers4/silero-vad, `OnnxWrapper`; weights (MIT) as @ricky0123/vad-web brings them.
 */
import { createRequire } from 'node:module'
import { parentPort } from 'node:worker_threads'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { frameSamples, type Asked, type Heard } from './voice-activity.ts'

const require = createRequire(import.meta.url)

/** Of the frame before: without them version 6 hears no speech at all. */
const contextSamples = 64
const inputSamples = contextSamples + frameSamples
/** Of each of its two layers. */
const stateNumbers = 128

interface Memory {
  readonly context: Float32Array
  readonly state: Float32Array
}

const model = await InferenceSession.create(require.resolve('@ricky0123/vad-web/dist/silero_vad_v6.onnx'), {
  // One frame is a twelfth of a millisecond: threads would wait for one another longer than that.
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
})
const rate = new Tensor('int64', BigInt64Array.of(16_000n), [])
const memories = new Map<number, Memory>()

/** All that came at once goes through the model together: thirty cost a third of thirty alone. */
async function hear({
  listeners,
  samples,
}: Extract<Asked, { samples: Float32Array }>): Promise<Float32Array> {
  const count = listeners.length
  const input = new Float32Array(count * inputSamples)
  const states = new Float32Array(2 * count * stateNumbers)
  const heard = listeners.map((id) => memories.get(id) ?? remember(id))
  for (const [index, { context, state }] of heard.entries()) {
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
  for (const [index, { state }] of heard.entries())
    for (const layer of [0, 1]) {
      const from = (layer * count + index) * stateNumbers
      state.set(stateN.data.subarray(from, from + stateNumbers), layer * stateNumbers)
    }
  return Float32Array.from(output.data)
}

function remember(id: number): Memory {
  const memory = { context: new Float32Array(contextSamples), state: new Float32Array(2 * stateNumbers) }
  memories.set(id, memory)
  return memory
}

const answer = (heard: Heard): void => parentPort?.postMessage(heard)

parentPort?.on('message', (asked: Asked) => {
  if ('forget' in asked) memories.delete(asked.forget)
  else if ('end' in asked) void model.release().then(() => process.exit())
  else
    hear(asked).then(
      (speech) => answer({ speech }),
      (error: unknown) => answer({ error: error instanceof Error ? error.message : String(error) }),
    )
})
// The first run makes room for what all others need.
await hear({ listeners: [0], samples: new Float32Array(frameSamples) })
memories.clear()
answer('ready')
