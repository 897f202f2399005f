/** Bytes from an upstream straight into a Node response: no buffer, no parsing, ended when either side ends. */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { Dispatcher, Pool } from 'undici'
import { Failure } from '../failure.ts'
import type { ForwardWish } from './engine.ts'

/** @param base path in front of each request's */
export function forwarder(pool: Pool, base: string) {
  return (wish: ForwardWish, response: ServerResponse): Promise<void> =>
    new Promise((settle, fail) => {
      pool.dispatch(
        {
          method: wish.method,
          path: base + wish.path,
          headers: { accept: '*/*', ...(wish.body && { 'content-type': 'application/json' }) },
          body: wish.body ?? null,
        },
        pipe(response, settle, fail),
      )
    })
}

type Controller = Dispatcher.DispatchController

function pipe(
  response: ServerResponse,
  settle: () => void,
  fail: (error: unknown) => void,
): Dispatcher.DispatchHandler {
  let left = false
  let stream: StreamEnd | undefined
  const end = (): void => {
    if (!response.writableEnded) response.end()
    settle()
  }
  return {
    onRequestStart(controller: Controller) {
      const leave = (): void => {
        left = true
        // Ends the upstream request, whether it has begun to answer or not.
        if (!response.writableFinished) controller.abort(new Error('The client left.'))
      }
      if (response.destroyed) leave()
      else response.once('close', leave)
    },
    onResponseStart(controller: Controller, status: number, headers: IncomingHttpHeaders) {
      stream = status === 200 ? streamEnd(headers['content-type'] ?? '') : undefined
      response.writeHead(status, passed(headers))
      response.on('drain', () => controller.resume())
    },
    onResponseData(controller: Controller, chunk: Buffer) {
      stream?.see(chunk)
      if (!response.write(chunk)) controller.pause()
    },
    onResponseEnd() {
      // Ollama swallows an error in the middle of a /v1 stream: it just ends (ChatWriter.Write).
      if (stream && !stream.seen()) response.write(stream.broken)
      end()
    },
    onResponseError(_controller: Controller, error: Error) {
      if (left) settle()
      else if (!response.headersSent) fail(new Failure('unavailable', 'The engine does not answer.', error))
      else if (stream) {
        response.write(stream.broken)
        end()
      } else {
        // A body with a length, cut: the client must see that it is not whole.
        response.destroy()
        settle()
      }
    },
  }
}

interface StreamEnd {
  see(chunk: Buffer): void
  seen(): boolean
  /** What tells the client, in the stream's own form, that the answer is not whole. */
  readonly broken: string
}

const brokenMessage = 'The engine broke off before its answer was whole.'

/** Watches a stream for the mark of its proper end. Inside JSON strings quotes and newlines are escaped, so the mark can't come from a model. */
function streamEnd(contentType: string): StreamEnd | undefined {
  if (contentType.startsWith('application/x-ndjson'))
    return watch(['"done":true', '"error":'], `${JSON.stringify({ error: brokenMessage })}\n`)
  if (contentType.startsWith('text/event-stream')) {
    const error = { message: brokenMessage, type: 'api_error', param: null, code: null }
    return watch(['data: [DONE]', 'data: {"error"'], `data: ${JSON.stringify({ error })}\n\n`)
  }
  return undefined
}

function watch(marks: readonly string[], broken: string): StreamEnd {
  const longest = Math.max(...marks.map((mark) => mark.length))
  let tail = Buffer.alloc(0)
  let seen = false
  return {
    see(chunk) {
      if (seen) return
      // A mark may be cut in two by a chunk's border.
      const border = tail.length > 0 ? Buffer.concat([tail, chunk.subarray(0, longest)]) : chunk
      seen = marks.some((mark) => chunk.includes(mark) || border.includes(mark))
      tail = Buffer.concat([tail, chunk.subarray(-longest)]).subarray(-longest)
    },
    seen: () => seen,
    broken,
  }
}

/** The headers that mean something to the client; hop-by-hop ones and the upstream's own manners stay here. */
function passed(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const name of ['content-type', 'content-length', 'retry-after'] as const) {
    const value = headers[name]
    if (value !== undefined) kept[name] = value
  }
  return { ...kept, 'cache-control': 'no-store' }
}
