/**
 * Records the real Ollama: `node test/recordings/record.ts` on a machine that has one. What it answers to each
 * call is kept in `ollama.json`, with its version, and the stand-in is held to it.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { temporaryDirectory } from '../lab/gateway.ts'
import { startOllama } from '../lab/ollama.ts'
import { calls, put, type Answer } from './calls.ts'

const folder = await temporaryDirectory()
const ollama = await startOllama(undefined, folder.path)
if (!ollama.real) throw new Error('There is no Ollama on this machine to record.')
const answers: Record<string, Answer> = {}
for (const [name, call] of Object.entries(calls)) {
  const answer = await put(ollama.url, ollama.model, call)
  // Where this machine keeps things is no part of what Ollama answers.
  answers[name] = { ...answer, text: answer.text.replaceAll(folder.path, '/home/ollama') }
}
await ollama.stop()
await folder.remove()
await writeFile(join(import.meta.dirname, 'ollama.json'), `${JSON.stringify(answers, null, 2)}\n`)
