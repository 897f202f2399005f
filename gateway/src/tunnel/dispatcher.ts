/** A tunnel as an upstream: what undici's pools are for an engine that can be dialled. */
import { validateHeaderName, validateHeaderValue, type IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import { Dispatcher, FormData, Response } from 'undici'
import { parseJson } from '#engines/json.ts'
import { answerHead, type RequestHead } from './frame.ts'
import type { Mux, Stream } from './mux.ts'

/** Undici has `request` for whoever has `dispatch`. */
export class TunnelDispatcher extends Dispatcher {
  readonly #mux: Mux

  constructor(mux: Mux) {
    super()
    this.#mux = mux
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    ask(this.#mux, options, handler)
    return true
  }

  /** The tunnel is its hub's to close. */
  override async close(): Promise<void> {}
  override async destroy(): Promise<void> {}
}

function ask(
  mux: Mux,
  { method, path, headers, body }: Dispatcher.DispatchOptions,
  handler: Dispatcher.DispatchHandler,
): void {
  const answer = createAnswer(handler, method)
  const { controller } = answer
  handler.onRequestStart?.(controller, {})
  if (controller.aborted) return
  const sending = readBody(body)
  const head: RequestHead = {
    method,
    path,
    headers: { ...sending.headers, ...flat(headers) },
    body: sending.body !== null,
  }
  let upload: Readable | undefined
  const stream = mux.request(JSON.stringify(head), {
    head: answer.head,
    data: answer.data,
    end() {
      upload?.destroy()
      answer.end()
    },
    reset(reason) {
      upload?.destroy()
      answer.fail(new Error(reason))
    },
    drain: () => upload?.resume(),
  })
  answer.attach(stream, () => upload?.destroy())
  if (sending.body instanceof Readable) upload = send(sending.body, stream, answer.fail)
  else if (sending.body) {
    stream.write(sending.body)
    stream.end()
  }
}

interface Answer {
  readonly controller: Dispatcher.DispatchController
  attach(stream: Stream, left: () => void): void
  head(json: string): void
  data(chunk: Buffer): void
  end(): void
  fail(error: Error): void
}

/**
 * What comes, to the handler; what comes while it pauses is kept, at most the stream's credit of it. A lender may
 * send anything: an answer that HTTP could not have brought is given up.
 */
function createAnswer(handler: Dispatcher.DispatchHandler, method: string): Answer {
  let stream: Stream | undefined
  let left: (() => void) | undefined
  let paused = false
  let reason: Error | null = null
  let over = false
  let ended = false
  let kept: Buffer[] = []
  let begun = false
  /** Bytes that are to come still, where the head said how many. */
  let missing: number | undefined
  const fail = (error: Error): void => {
    if (over) return
    over = true
    handler.onResponseError?.(controller, error)
  }
  const pass = (chunk: Buffer): void => {
    stream?.consumed(chunk.length)
    handler.onResponseData?.(controller, chunk)
  }
  const settle = (): void => {
    if (!ended || over || paused || kept.length > 0) return
    over = true
    handler.onResponseEnd?.(controller, {})
  }
  const controller: Dispatcher.DispatchController = {
    get aborted() {
      return reason !== null
    },
    get paused() {
      return paused
    },
    get reason() {
      return reason
    },
    abort(why) {
      if (over) return
      reason = why
      stream?.reset('cancelled')
      left?.()
      fail(why)
    },
    pause() {
      paused = true
    },
    resume() {
      paused = false
      const chunks = kept
      kept = []
      // Whoever takes one may pause again.
      for (const chunk of chunks)
        if (paused) kept.push(chunk)
        else pass(chunk)
      settle()
    },
  }
  return {
    controller,
    fail,
    attach(opened, leave) {
      stream = opened
      left = leave
    },
    head(json) {
      if (over) return
      const read = answerHead.safeParse(parseJson(json))
      if (begun || !read.success || !areHeaders(read.data.headers))
        return controller.abort(new Error('the lender sent no answer'))
      begun = true
      const { status } = read.data
      const headers: IncomingHttpHeaders = read.data.headers
      const length = headers['content-length']
      if (length !== undefined && method !== 'HEAD' && !bodiless.has(status)) missing = Number(length)
      handler.onResponseStart?.(controller, status, headers, '')
    },
    data(chunk) {
      if (over) return
      // Bytes past the length would be read as the client's next answer.
      if (missing !== undefined) missing -= chunk.length
      if (!begun || (missing ?? 0) < 0) return controller.abort(new Error('the lender sent no answer'))
      if (paused) kept.push(chunk)
      else pass(chunk)
    },
    end() {
      if (!begun || (missing ?? 0) > 0) return controller.abort(new Error('the lender broke off'))
      ended = true
      settle()
    },
  }
}

/** Whose length is that of another answer. Source: RFC 9110 §8.6. */
const bodiless = new Set([204, 304])

function areHeaders(headers: Readonly<Record<string, string>>): boolean {
  try {
    for (const [name, value] of Object.entries(headers)) {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    }
    return /^\d{1,15}$/.test(headers['content-length'] ?? '0')
  } catch {
    return false
  }
}

function send(body: Readable, stream: Stream, fail: (error: Error) => void): Readable {
  body.on('data', (chunk: Buffer | string) => {
    if (!stream.write(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)) body.pause()
  })
  body.once('end', () => stream.end())
  body.once('error', (error) => {
    stream.reset('cancelled')
    fail(error)
  })
  return body
}

interface Sending {
  readonly body: Buffer | Readable | null
  readonly headers: Readonly<Record<string, string>>
}

function readBody(body: Dispatcher.DispatchOptions['body']): Sending {
  if (body === null || body === undefined) return { body: null, headers: {} }
  if (body instanceof Readable) return { body, headers: {} }
  if (body instanceof FormData) {
    const { headers, body: form } = new Response(body)
    return {
      body: form && Readable.fromWeb(form),
      headers: { 'content-type': headers.get('content-type') ?? '' },
    }
  }
  const bytes = typeof body === 'string' ? Buffer.from(body) : Buffer.from(body)
  return { body: bytes, headers: { 'content-length': String(bytes.length) } }
}

/** The gateway gives its upstreams headers as an object. */
function flat(headers: Dispatcher.DispatchOptions['headers']): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers ?? {}))
    if (typeof value === 'string') kept[name.toLowerCase()] = value
  return kept
}
