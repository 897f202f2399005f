/** Newline-delimited text from a byte stream, one line at a time. */
import { Failure } from '../failure.ts'
import { hold, type Held } from './held.ts'

/** Far above any line that Ollama sends: past it the upstream is broken, and memory is not its to take. */
const maxLineBytes = 16 * 1024 * 1024
const newline = 10

/** The lines that are not empty; the last one also without its newline. Throws a `Failure` for one that is longer. */
export async function* lines(
  stream: AsyncIterable<Uint8Array>,
  maxBytes: number = maxLineBytes,
): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  const decode = (bytes: Uint8Array): string => decoder.decode(bytes, { stream: true })
  let held: Held | undefined
  for await (const chunk of stream) {
    const end = chunk.lastIndexOf(newline) + 1
    const rest = chunk.subarray(end)
    if (end > 0) {
      const whole = chunk.subarray(0, end)
      held?.add(whole)
      for (const line of decode(held?.bytes ?? whole).split('\n')) if (line.trim()) yield line
      held = undefined
    }
    if (held) held.add(rest)
    else if (rest.length > 0) held = hold(rest)
    if (held && held.bytes.length > maxBytes)
      throw new Failure('bad_upstream', 'The upstream sent a line without an end.')
  }
  const last = held ? decode(held.bytes) + decoder.decode() : ''
  if (last.trim()) yield last
}
