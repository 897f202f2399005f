/** Bytes from an upstream straight into a Node response: no buffer, ended when either side ends. */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { Failure, type FailureCode } from '../failure.ts'
import type { Tap } from './tap.ts'

/** How people are told what an upstream did wrong. */
export interface Wording {
  /** It can't be reached. */
  away(cause: unknown): Failure
  /** Its answer ended before its time. */
  readonly brokenOff: string
  refusal(refused: Refused): Failure
}

/** What an upstream refused with. */
export interface Refused {
  readonly status: number
  readonly body: string
  /** As its header has it. */
  readonly retryAfter?: string | undefined
  /** It said that trying again at once can't help. */
  readonly hopeless?: boolean
}

export interface ForwardWish {
  readonly upstream: Dispatcher
  readonly method: string
  /** With the upstream's own base in front. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body: Buffer | Readable | null
  /** Of the answer, beside those of the upstream that mean something to the client. */
  readonly answerHeaders?: Readonly<Record<string, string>>
  /** Left out, an engine's. */
  readonly wording?: Wording | undefined
  /** Reads what passes, by the content type that the upstream gives. */
  tap(contentType: string): Tap
}

export interface Forwarded {
  readonly ended: 'whole' | 'cut' | 'left'
  /** What read the answer; undefined where none came. */
  readonly tap: Tap | undefined
}

/** What an upstream may say of what is wrong: more is no error but an answer. */
export const maxErrorBytes = 64 * 1024
/** What comes at once is written at once, in one piece, but for pieces of which a copy costs more than a write. */
const wholeBytes = 4 * 1024

/**
 * Streams the answer into `response`, with no buffering. Ends the upstream request when the client leaves.
 * Throws a `Failure` only while nothing of the answer was written: for an upstream that can't be reached, or
 * that refused; after that a broken stream is told in its own form.
 */
export function forward(wish: ForwardWish, response: ServerResponse): Promise<Forwarded> {
  return new Promise((settle, fail) => {
    wish.upstream.dispatch(
      {
        method: wish.method,
        path: wish.path,
        headers: { accept: '*/*', ...wish.headers },
        body: wish.body,
      },
      pipe(wish, response, settle, fail),
    )
  })
}

type Controller = Dispatcher.DispatchController

function pipe(
  wish: ForwardWish,
  response: ServerResponse,
  settle: (forwarded: Forwarded) => void,
  fail: (error: unknown) => void,
): Dispatcher.DispatchHandler {
  const { wording = engineWording } = wish
  let left = false
  let tap: Tap | undefined
  let refused: (Omit<Refused, 'body'> & { readonly chunks: Buffer[]; bytes: number }) | undefined
  let leave: (() => void) | undefined
  let resume: (() => void) | undefined
  let gathered: Buffer[] = []
  const pass = (controller: Controller): void => {
    if (gathered.length === 0 || !tap) return
    const small = gathered.length > 1 && gathered.every(({ length }) => length < wholeBytes)
    const chunks = small ? [Buffer.concat(gathered)] : gathered
    gathered = []
    try {
      for (const chunk of chunks) {
        const passes = tap.pass(chunk)
        if (passes !== undefined && !response.write(passes)) controller.pause()
      }
    } catch (error) {
      // An event without an end: nobody would catch it here.
      controller.abort(error instanceof Error ? error : new Error('what came can’t be read'))
    }
  }
  const detach = (): void => {
    if (leave) response.off('close', leave)
    if (resume) response.off('drain', resume)
  }
  const end = (ended: Forwarded['ended']): void => {
    detach()
    if (ended === 'cut' && tap) {
      const told = tap.broken(wording.brokenOff)
      // A body with a length, cut: the client must see that it is not whole.
      if (told === '') response.destroy()
      else response.write(told)
    }
    if (!response.writableEnded) response.end()
    settle({ ended, tap })
  }
  return {
    onRequestStart(controller: Controller) {
      leave = () => {
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
      if (status >= 300) {
        const hopeless = headers['x-should-retry'] === 'false'
        refused = { status, chunks: [], bytes: 0, retryAfter: headers['retry-after'], hopeless }
        return
      }
      tap = wish.tap(headers['content-type'] ?? '')
      if (!response.headersSent) response.writeHead(status, { ...passed(headers), ...wish.answerHeaders })
      resume = () => controller.resume()
      response.on('drain', resume)
    },
    onResponseData(controller: Controller, chunk: Buffer) {
      if (refused) {
        refused.bytes += chunk.length
        if (refused.bytes <= maxErrorBytes) refused.chunks.push(chunk)
        return
      }
      // What one read of the socket brings is passed on in one piece: a fast stream has hundreds of events in it.
      if (gathered.push(chunk) === 1) process.nextTick(pass, controller)
    },
    onResponseEnd(controller: Controller) {
      pass(controller)
      if (refused) {
        detach()
        return fail(wording.refusal({ ...refused, body: Buffer.concat(refused.chunks).toString() }))
      }
      // Ollama swallows an error in the middle of a /v1 stream: it just ends (ChatWriter.Write).
      end(tap?.whole() === false ? 'cut' : 'whole')
    },
    onResponseError(controller: Controller, error: Error) {
      pass(controller)
      detach()
      if (left) return settle({ ended: 'left', tap })
      if (refused) return fail(wording.refusal({ ...refused, body: '' }))
      if (!tap) return fail(wording.away(error))
      end(tap.broken('') !== '' && tap.whole() ? 'whole' : 'cut')
    },
  }
}

export const brokenOff = 'The engine broke off before its answer was whole.'

/** The headers that mean something to the client; hop-by-hop ones and the upstream's own manners stay here. */
function passed(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {}
  // An answer of which something is kept back has no length beforehand.
  const stream = /^(?:text\/event-stream|application\/x-ndjson)/.test(headers['content-type'] ?? '')
  for (const name of ['content-type', 'content-length', 'content-disposition'] as const) {
    const value = headers[name]
    if (value !== undefined && !(stream && name === 'content-length')) kept[name] = value
  }
  return { ...kept, 'cache-control': 'no-store' }
}

const codes: Record<number, FailureCode> = {
  400: 'invalid',
  401: 'forbidden',
  403: 'forbidden',
  404: 'not_found',
  405: 'method',
  413: 'too_large',
  422: 'invalid',
  429: 'busy',
  503: 'busy',
}

/** What an engine refused with, in its words as far as they are for the client. */
export function refusal(status: number, body: string, retryAfter?: string): Failure {
  return new Failure(
    codes[status] ?? 'bad_upstream',
    saidIn(body) ?? `The engine refused with status ${status}.`,
    body,
    waitOf(retryAfter),
  )
}

const engineWording: Wording = {
  away: (cause) => new Failure('unavailable', 'The engine does not answer.', cause),
  brokenOff,
  refusal: ({ status, body, retryAfter }) => refusal(status, body, retryAfter),
}

/** `Retry-After`, in seconds, for a `Failure`. */
export function waitOf(retryAfter: string | undefined): { readonly retryAfter?: number } {
  const seconds = Number(retryAfter)
  return Number.isFinite(seconds) && retryAfter !== undefined ? { retryAfter: seconds } : {}
}

/** The words of an error's body, in any dialect; undefined where it has none for a client. */
export function saidIn(body: string): string | undefined {
  const said = errorIn(body)
  return said === undefined ? undefined : withoutAddresses(said)
}

function errorIn(body: string): string | undefined {
  try {
    const read: unknown = JSON.parse(body)
    if (typeof read !== 'object' || read === null) return undefined
    const error: unknown = 'error' in read ? read.error : 'detail' in read ? read.detail : undefined
    if (typeof error === 'string') return error
    if (
      typeof error === 'object' &&
      error !== null &&
      'message' in error &&
      typeof error.message === 'string'
    )
      return error.message
  } catch {
    // No JSON: a proxy's page, a stack; nothing for a client.
  }
  return undefined
}

/** Ollama names the addresses of its own runners in what it says of them. */
function withoutAddresses(text: string): string {
  return text
    .replaceAll(/\b(?:https?|tcp|unix):\/\/[^\s"']+/gi, 'the engine')
    .replaceAll(/(?:\b\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:]+\]|\blocalhost)(?::\d+)?\b/gi, 'the engine')
}
