/** What the people of a bench say, as recordings. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createResampler } from '@sotto/gateway/engines/resample.ts'
import { inputSampleRate } from '@sotto/gateway/protocol/frame.ts'
import { execa } from 'execa'

/** Sentences that have no pause in them, in several voices and at several paces. */
const sentences = [
  'what is the weather like today',
  'please turn on the kitchen lights',
  'how far away is the moon',
  'remind me to call my sister tomorrow',
  'where did I leave my keys',
  'tell me a story about a whale',
]

/** As files of PCM16 mono at 16 kHz, from their first sound to their last. */
export async function speakAll(folder: string): Promise<string[]> {
  const files: string[] = []
  for (const voice of ['en-us', 'en-gb', 'en-us+f3'])
    for (const [index, sentence] of sentences.entries()) {
      const pace = String(150 + index * 8)
      const { stdout } = await execa({
        encoding: 'buffer',
      })`espeak-ng -v ${voice} -s ${pace} --stdout ${sentence}`
      const bytes = Buffer.from(stdout)
      const samples = new Int16Array(
        bytes.buffer.slice(bytes.byteOffset + 44, bytes.byteOffset + (bytes.length & ~1)),
      )
      const resampler = await createResampler(bytes.readUInt32LE(24), inputSampleRate)
      const whole = [...resampler.push(samples), ...resampler.end()]
      resampler.close()
      const loud = (sample: number): boolean => Math.abs(sample) > 200
      const speech = Int16Array.from(whole.slice(whole.findIndex(loud), whole.findLastIndex(loud) + 1))
      const file = join(folder, `${voice}-${index}.pcm`)
      await writeFile(file, speech)
      files.push(file)
    }
  return files
}
