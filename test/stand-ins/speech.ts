/** Speech for the tests: sentences spoken by espeak-ng, treated by sox. */
import { readFile } from 'node:fs/promises'
import { execa } from 'execa'

/** Three that are said to the page, and one that is not expected anywhere. */
export const sentences = [
  'what is the weather like today',
  'please turn on the kitchen lights',
  'how far away is the moon',
  'remind me to call my sister tomorrow',
] as const

/** Speaks into a WAV file of 48 kHz with this much silence around it, in seconds. */
export async function speak(
  sentence: string,
  file: string,
  { before = 0.5, after = 0.5 } = {},
): Promise<void> {
  const { stdout } = await execa({ encoding: 'buffer' })`espeak-ng -v en-us -s 140 --stdout ${sentence}`
  await execa({ input: stdout })`sox -D -t wav - -r 48000 -c 1 -b 16 ${file} pad ${before} ${after}`
}

/** One after another, a second after the beginning. */
export async function speakAll(
  all: readonly { readonly sentence: string; readonly after: number }[],
  file: string,
): Promise<void> {
  const parts: string[] = []
  for (const [at, { sentence, after }] of all.entries()) {
    parts.push(`${file}.${at}.wav`)
    await speak(sentence, `${file}.${at}.wav`, { before: at === 0 ? 1 : 0, after })
  }
  await execa('sox', [...parts, file])
}

/** A recording as the gateway would send it: WAV, 16 kHz, with sox effects on wish. */
export async function recording(
  sentence: string,
  file: string,
  effects: readonly string[] = [],
): Promise<Buffer> {
  await speak(sentence, `${file}.48k.wav`)
  await execa('sox', ['-V1', '-D', `${file}.48k.wav`, '-r', '16000', file, ...effects])
  return readFile(file)
}
