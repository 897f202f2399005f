/** The engines that answer at once, each a process of its own: `engine.ts`. */
import { join } from 'node:path'
import { execa, type ResultPromise } from 'execa'
import { firstLine } from '../process.ts'

export type Engines = Readonly<Record<'whisper' | 'ollama' | 'speech', string>>

export async function startEngines(started: ResultPromise[]): Promise<Engines> {
  const start = async (kind: string): Promise<string> => {
    const child = execa(process.execPath, [join(import.meta.dirname, 'engine.ts'), kind], {
      buffer: false,
      reject: false,
      stderr: 'inherit',
    })
    started.push(child)
    return `http://127.0.0.1:${await firstLine(child)}`
  }
  return { whisper: await start('whisper'), ollama: await start('ollama'), speech: await start('speech') }
}
