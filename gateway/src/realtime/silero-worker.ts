/** A thread that listens to many: a hundred people who talk would hold every stream up by a third of a core. */
import { parentPort, workerData } from 'node:worker_threads'
import { z } from 'zod'
import { loadSilero, newMemory, type Memory } from './silero.ts'
import type { Asked, Heard } from './voice-activity.ts'

const frames = z.instanceof(Float32Array).parse(workerData)
const silero = await loadSilero()
const memories = new Map<number, Memory>()

function memoryOf(id: number): Memory {
  const known = memories.get(id) ?? newMemory()
  memories.set(id, known)
  return known
}

const answer = (heard: Heard): void => parentPort?.postMessage(heard)

parentPort?.on('message', (asked: Asked) => {
  if ('forget' in asked) memories.delete(asked.forget)
  else if ('end' in asked) void silero.close().then(() => process.exit())
  else
    silero.hear(asked.listeners.map(memoryOf), frames).then(
      (speech) => answer({ speech }),
      (error: unknown) => answer({ error: error instanceof Error ? error.message : String(error) }),
    )
})
answer('ready')
