/** A chat as engines are asked for it: one request, its answer piece by piece, and its ends as a `Failure`. */
import type { Dispatcher } from 'undici'
import { Failure } from '../failure.ts'
import type { ChatPiece, ChatTool } from './engine.ts'
import { brokenOff, maxErrorBytes, refusal, type Wording } from './forward.ts'
import { textOf } from './text-of.ts'

export interface ChatRequest {
  readonly upstream: Dispatcher
  readonly path: string
  readonly body: object
  /** Who does not answer, for people. */
  readonly engine: string
  /** Left out, an engine's. */
  readonly wording?: Wording | undefined
  /** Reads the answer. Throws a `Failure` where it is not what it should be, or ends before its time. */
  read(body: AsyncIterable<Uint8Array>): AsyncIterable<ChatPiece>
}

/** Throws a `Failure`; ends the request when `signal` is aborted. */
export async function* requestChat(
  { upstream, path, body, engine, wording, read }: ChatRequest,
  signal: AbortSignal,
): AsyncGenerator<ChatPiece> {
  const headers = { 'content-type': 'application/json' }
  const answer = await upstream
    .request({ method: 'POST', path, headers, body: JSON.stringify(body), signal })
    .catch((error: unknown) => {
      if (signal.aborted) throw error
      throw wording?.away(error) ?? new Failure('unavailable', `${engine} does not answer.`, error)
    })
  try {
    if (answer.statusCode !== 200) throw await refused(answer, wording)
    yield* read(answer.body)
  } catch (error) {
    if (error instanceof Failure || signal.aborted) throw error
    throw new Failure('bad_upstream', wording?.brokenOff ?? brokenOff, error)
  }
}

async function refused(
  { statusCode: status, headers, body: stream }: Dispatcher.ResponseData,
  wording: Wording | undefined,
): Promise<Failure> {
  const body = await textOf(stream, maxErrorBytes)
  if (!wording) return refusal(status, body)
  const { 'retry-after': wait, 'x-should-retry': again } = headers
  const retryAfter = typeof wait === 'string' ? wait : undefined
  return wording.refusal({ status, body, retryAfter, hopeless: again === 'false' })
}

/** A function, as OpenAI's API and Ollama's have it. Source: `api/types.go` of Ollama, `Tool`. */
export function toolOf({ name, description, parameters }: ChatTool): object {
  return {
    type: 'function',
    function: {
      name,
      ...(description !== undefined && { description }),
      parameters: parameters ?? { type: 'object', properties: {} },
    },
  }
}
