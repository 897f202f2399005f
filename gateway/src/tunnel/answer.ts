/** One request of the gateway's, at the lender: to the service that it is for, and its answer back as it comes. */
import { Readable } from 'node:stream'
import { Pool, type Dispatcher } from 'undici'
import { statusOf } from '#api/envelope.ts'
import { parseJson } from '#engines/json.ts'
import { asFailure, Failure } from '../failure.ts'
import { targetOf, type Lending } from './allowed.ts'
import { requestHead, type AnswerHead, type RequestHead } from './frame.ts'
import type { Stream, StreamEvents } from './mux.ts'
import { offerPath, type Offer } from './offer.ts'

export interface Answering {
  readonly lending: Lending
  readonly offer: Offer
  readonly tally: Tally
}

/** What its owner sees of the work. */
export interface Tally {
  began(): void
  ended(): void
  /** Pieces of a streamed answer went by: tokens, nearly. */
  pieces(count: number): void
}

export interface Answerer {
  accept(json: string, stream: Stream): StreamEvents
  close(): Promise<void>
}

/** As the gateway's own, for engines that it dials itself: a cold model of 70 GB, a machine that swaps. */
const timeouts = { headersTimeout: 15 * 60_000, bodyTimeout: 5 * 60_000 }
/** The gateway's queue lets through fewer to each engine. */
const connections = 256

const passedOn = ['content-type', 'content-length', 'accept', 'accept-language', 'range']
const passedBack = [
  'content-type',
  'content-length',
  'content-disposition',
  'content-range',
  'accept-ranges',
  'retry-after',
]

export function createAnswerer(answering: Answering): Answerer {
  const pools = new Map<string, Pool>()
  const poolOf = (origin: string): Pool => {
    const known = pools.get(origin)
    if (known) return known
    const made = new Pool(origin, { connections, pipelining: 1, ...timeouts })
    pools.set(origin, made)
    return made
  }
  return {
    accept(json, stream) {
      const read = requestHead.safeParse(parseJson(json))
      try {
        if (!read.success) throw new Failure('invalid', 'The gateway asked for nothing that is known.')
        const { method, path } = read.data
        if (method === 'GET' && path === offerPath) {
          say(stream, 200, answering.offer)
          return nothing
        }
        const { origin, path: asked } = targetOf(answering.lending, method, path)
        return pass(poolOf(origin), { ...read.data, path: asked }, stream, answering.tally)
      } catch (error) {
        const failure = asFailure(error)
        say(stream, statusOf(failure), { error: failure.message })
        return nothing
      }
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()))
    },
  }
}

const nothing: StreamEvents = { data() {}, end() {}, reset() {} }

function say(stream: Stream, status: number, body: object): void {
  const head: AnswerHead = { status, headers: { 'content-type': 'application/json' } }
  stream.head(JSON.stringify(head))
  stream.write(Buffer.from(JSON.stringify(body)))
  stream.end()
}

function pass(pool: Pool, request: RequestHead, stream: Stream, tally: Tally): StreamEvents {
  let controller: Dispatcher.DispatchController | undefined
  let used = 0
  const body = request.body
    ? new Readable({
        read() {
          stream.consumed(used)
          used = 0
        },
      })
    : null
  // Whoever asked for it has left: its end is told there.
  body?.on('error', () => {})
  // Looks of the gateway at what there is are no work.
  const counts = request.method !== 'GET'
  if (counts) tally.began()
  let over = false
  const end = (): void => {
    if (!over && counts) tally.ended()
    over = true
  }
  let perPiece = 0
  pool.dispatch(
    {
      method: request.method,
      path: request.path,
      headers: only(passedOn, request.headers),
      body,
    },
    {
      onRequestStart(started) {
        controller = started
        if (over) started.abort(left())
      },
      onResponseStart(_controller, status, headers) {
        // An interim answer: the real one follows.
        if (status < 200) return
        perPiece = newlinesPerPiece(headers['content-type'])
        const head: AnswerHead = { status, headers: only(passedBack, headers) }
        stream.head(JSON.stringify(head))
      },
      onResponseData(answer, chunk) {
        if (perPiece > 0) tally.pieces(newlinesIn(chunk) / perPiece)
        if (!stream.write(chunk)) answer.pause()
      },
      onResponseEnd() {
        end()
        stream.end()
      },
      onResponseError(_controller, error) {
        end()
        stream.reset(error.message.slice(0, 200))
      },
    },
  )
  return {
    data(chunk) {
      used += chunk.length
      body?.push(chunk)
    },
    end: () => void body?.push(null),
    reset() {
      end()
      controller?.abort(left())
      body?.destroy()
    },
    drain: () => controller?.resume(),
  }
}

function left(): Error {
  return new Error('The client left.')
}

function only(
  names: readonly string[],
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = headers[name]
      return typeof value === 'string' ? [[name, value]] : []
    }),
  )
}

/** Nought where it is no stream of pieces. */
function newlinesPerPiece(type: string | readonly string[] | undefined): number {
  if (typeof type !== 'string') return 0
  if (type.startsWith('application/x-ndjson')) return 1
  return type.startsWith('text/event-stream') ? 2 : 0
}

function newlinesIn(chunk: Buffer): number {
  let found = 0
  for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) found += 1
  return found
}
