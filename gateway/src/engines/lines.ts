/** Newline-delimited text from a byte stream, one line at a time. */
import { Failure } from '../failure.ts'

/** Far above any line that Ollama sends: past it the upstream is broken, and memory is not its to take. */
const maxLineLength = 16 * 1024 * 1024

/** The lines that are not empty; the last one also without its newline. */
export async function* lines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = parts.pop() ?? ''
    if (rest.length > maxLineLength)
      throw new Failure('bad_upstream', 'The upstream sent a line without an end.')
    for (const line of parts) if (line.trim()) yield line
  }
  if (rest.trim()) yield rest
}
