/** Bytes from an upstream straight into a Node response: no buffer, no parsing, ended when either side ends. */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { Dispatcher, Pool } from 'undici'
import { Failure } from '../failure.ts'
import type { ForwardWish } from './engine.ts'
import { streamEnd, type StreamEnd } from './stream-end.ts'

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
      // An interim answer, such as 103: the real one follows.
      if (status < 200) return
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
      if (stream && !stream.whole()) response.write(stream.broken())
      end()
    },
    onResponseError(_controller: Controller, error: Error) {
      if (left) settle()
      else if (!response.headersSent) fail(new Failure('unavailable', 'The engine does not answer.', error))
      else if (stream) {
        if (!stream.whole()) response.write(stream.broken())
        end()
      } else {
        // A body with a length, cut: the client must see that it is not whole.
        response.destroy()
        settle()
      }
    },
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
