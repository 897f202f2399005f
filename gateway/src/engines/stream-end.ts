/** Whether a stream that passes came to its proper end, judged by its last line alone. */

export interface StreamEnd {
  see(chunk: Buffer): void
  /** Whether what was seen last is what ends such a stream: its mark, or an error of the upstream's own. */
  whole(): boolean
  /** What tells the client, in the stream's own form and on a line of its own, that the answer is not whole. */
  broken(): string
}

const message = 'The engine broke off before its answer was whole.'

/** Above the longest last line there is, that of `/api/generate` with its `context` of some 100,000 numbers. */
const maxLineBytes = 4 * 1024 * 1024
const newline = 10

/** Undefined for a body that is no stream: it has a length, or a connection that breaks. */
export function streamEnd(contentType: string): StreamEnd | undefined {
  if (contentType.startsWith('application/x-ndjson'))
    return watch(endsNative, '\n', `${JSON.stringify({ error: message })}\n`)
  if (contentType.startsWith('text/event-stream')) {
    const error = { message, type: 'api_error', param: null, code: null }
    // The empty line first: without it the error would be part of an event that was cut.
    return watch(endsOpenAi, '', `\n\ndata: ${JSON.stringify({ error })}\n\n`)
  }
  return undefined
}

/** Read as JSON, since a model may write `"done":true` into the arguments of a tool. */
function endsNative(line: string): boolean {
  try {
    const read: unknown = JSON.parse(line)
    return (
      typeof read === 'object' && read !== null && (('done' in read && read.done === true) || 'error' in read)
    )
  } catch {
    return false
  }
}

function endsOpenAi(line: string): boolean {
  return line === 'data: [DONE]' || line.startsWith('data: {"error"')
}

function watch(ends: (line: string) => boolean, border: string, broken: string): StreamEnd {
  /** The last line that is not empty, with its newlines. */
  let line: Buffer[] = []
  let bytes = 0
  let closed = true
  return {
    see(chunk) {
      const end = lastByteOfText(chunk)
      if (end === -1) {
        closed = chunk.length > 0 || closed
        return
      }
      const before = chunk.lastIndexOf(newline, end)
      if (before !== -1 || closed) {
        line = []
        bytes = 0
      }
      bytes += end - before
      if (bytes <= maxLineBytes) line.push(chunk.subarray(before + 1, end + 1))
      closed = end < chunk.length - 1
    },
    whole: () => bytes <= maxLineBytes && ends(Buffer.concat(line).toString().trim()),
    broken: () => (closed ? broken : border + broken),
  }
}

/** Index of the last byte that is no newline; -1 where there is none. */
function lastByteOfText(chunk: Buffer): number {
  let at = chunk.length - 1
  while (at >= 0 && (chunk[at] === newline || chunk[at] === 13)) at -= 1
  return at
}
