/** What every dialect of the models does alike: admit, find a place, stream through a tap, settle. */
import { hash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Admission, Permit, Usage } from '#admission/admission.ts'
import type { Backend } from '#engines/backend.ts'
import type { EngineView } from '#engines/engine.ts'
import { forward, type Forwarded } from '#engines/forward.ts'
import { fullName } from '#protocol/model-name.ts'
import { missingModel, noSuchModel } from '#engines/no-model.ts'
import { createTap, type Grammar, type Tap } from '#engines/tap.ts'
import { queuesAs, type Member } from '#identity/caller.ts'
import { since, type OpenRecord, type Recorder } from '#ledger/record.ts'
import { asFailure, Failure } from '../failure.ts'
import { inputBound, writeBody, type EngineLimits, type ModelRequest } from './body.ts'
import type { Call } from './route.ts'

export interface ApiDeps {
  readonly engines: EngineView
  readonly admission: Admission
  readonly recorder: Recorder
  readonly limits: EngineLimits
}

export interface Inference {
  readonly service: 'chat' | 'embeddings'
  /** The upstream's own path for it. */
  readonly path: string
  /** Where only Ollama speaks it. */
  readonly kind?: Backend['kind']
  readonly grammar: Grammar
  /** Read, and held to what may be asked. */
  readonly request: ModelRequest
  /** The most output that was asked for; undefined where nothing was, null where none can come. */
  readonly output: number | undefined | null
  /** The request with a limit to its output. */
  limited(request: ModelRequest, output: number): ModelRequest
  /** Whether a stream was asked for, and of a kind that takes comments. */
  readonly events: boolean
}

/** A rough count, for rates and for what was cut: four bytes to a token, as OpenAI's own rule of thumb is. */
export const bytesPerToken = 4

/** A place in the line is told only to those who wait noticeably. */
const tellAfterMs = 500

export async function infer(
  { caller, outgoing, record }: Call,
  deps: ApiDeps,
  wish: Inference,
): Promise<Response> {
  const { engines, admission, recorder } = deps
  record.service = wish.service
  const model = engines.pool.resolve(wish.request.model)
  if (model === undefined) throw missingModel(engines.pool, wish.request.model)
  if (!admission.mayUse(caller, model)) throw noSuchModel(wish.request.model)
  record.model = model
  // An alias is the gateway's own; what Ollama itself takes for a name goes on as it was said.
  const said = model === fullName(wish.request.model) ? wish.request.model : model
  const named = { ...wish.request, model: said }
  const bytes = writeBody(named)
  const estimate = Math.ceil(bytes.length / bytesPerToken)
  const permit = await admission.admit(caller, {
    service: wish.service,
    model,
    tokens: {
      inputBound: inputBound(named, bytes.length),
      inputEstimate: estimate,
      output: wish.output === null ? 0 : wish.output,
    },
  })
  const body =
    permit.output !== undefined && wish.output !== null && permit.output !== wish.output
      ? writeBody(wish.limited(named, permit.output))
      : bytes
  const forget = recorder.opened({ caller, end: () => outgoing.destroy() })
  const keeper = caller.key?.promptLogMs == null ? undefined : keepAnswer()
  let forwarded: Forwarded | undefined
  try {
    forwarded = await stream({ caller, outgoing, record, deps, wish, model, body, permit, keeper })
  } finally {
    forget()
    const usage = usageOf(forwarded, record, estimate)
    record.usage = usage
    record.counted = forwarded?.tap?.usage() ? 'upstream' : 'counted'
    if (forwarded) record.ended = forwarded.ended
    permit.settle(usage)
    if (keeper) keepPrompt(recorder, caller, record, bytes, keeper.text())
  }
  return RESPONSE_ALREADY_SENT
}

interface Streaming {
  readonly caller: Member
  readonly outgoing: ServerResponse
  readonly record: OpenRecord
  readonly deps: ApiDeps
  readonly wish: Inference
  readonly model: string
  readonly body: Buffer
  readonly permit: Permit
  readonly keeper: Keeper | undefined
}

/** From the first backend that takes it; another one is tried as long as nothing was written. */
async function stream(streaming: Streaming): Promise<Forwarded> {
  const { caller, outgoing, record, deps, wish, model, body, permit, keeper } = streaming
  const tried = new Set<Backend>()
  const left = new AbortController()
  const leave = (): void => left.abort(new Failure('invalid', 'The client left.'))
  outgoing.once('close', leave)
  const came = performance.now()
  const line = waitingLine(outgoing, wish, permit, record)
  try {
    for (;;) {
      const place = await deps.engines.pool.place({
        model,
        ...(wish.kind && { kind: wish.kind }),
        conversation:
          deps.engines.pool.backends.length > 1 ? conversationOf(caller, wish.request) : undefined,
        tenant: caller.tenant.id,
        caller: queuesAs(caller),
        signal: left.signal,
        onWait: line.wait,
        without: tried,
      })
      line.end()
      const { backend } = place
      record.backend = backend.name
      record.queuedMs = since(came)
      try {
        return await forward(
          {
            upstream: backend.upstream,
            method: 'POST',
            path: backend.base + wish.path,
            headers: json,
            body,
            answerHeaders: answerHeaders(permit, record, line.position()),
            wording: backend.wording,
            tap: (contentType) => timed(createTap(wish.grammar, contentType), record, keeper),
          },
          outgoing,
        )
      } catch (error) {
        const failure = asFailure(error)
        if (failure.code === 'unavailable') backend.failed(failure)
        tried.add(backend)
        // What is a friend's is nobody else's.
        const others = backend.friend === undefined && deps.engines.pool.backends.length > tried.size
        if (others && (failure.code === 'unavailable' || failure.code === 'busy')) {
          record.refusal = failure.code
          continue
        }
        throw failure
      } finally {
        place.leave()
      }
    }
  } catch (error) {
    if (left.signal.aborted) return { ended: 'left', tap: undefined }
    const failure = asFailure(error)
    if (!outgoing.headersSent) throw failure
    // A place in the line was told already: what comes now can only be told in the stream.
    record.refusal = failure.code
    outgoing.end(wish.grammar.error(failure.message))
    return { ended: 'cut', tap: undefined }
  } finally {
    line.end()
    outgoing.off('close', leave)
    if (record.ended === undefined && record.refusal && outgoing.statusCode < 300) delete record.refusal
  }
}

const json = { 'content-type': 'application/json' }

interface WaitingLine {
  wait(position: number): void
  position(): number | undefined
  end(): void
}

/** Tells who waits how many go before: as a comment of an event stream, else in a header of the answer. */
function waitingLine(
  outgoing: ServerResponse,
  wish: Inference,
  permit: Permit,
  record: OpenRecord,
): WaitingLine {
  let first: number | undefined
  let now = 0
  let timer: NodeJS.Timeout | undefined
  const tell = (): void => {
    timer = undefined
    if (!outgoing.headersSent)
      outgoing.writeHead(200, {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        ...answerHeaders(permit, record, first),
      })
    outgoing.write(`: waiting, place ${now} in the line\n\n`)
  }
  return {
    wait(position) {
      first ??= position
      now = position
      if (!wish.events) return
      if (outgoing.headersSent) tell()
      else timer ??= setTimeout(tell, tellAfterMs)
    },
    position: () => first,
    end() {
      clearTimeout(timer)
      timer = undefined
    },
  }
}

function answerHeaders(
  permit: Permit,
  { id }: OpenRecord,
  position: number | undefined,
): Record<string, string> {
  return {
    'x-request-id': id,
    ...permit.headers,
    ...(position !== undefined && { 'x-queue-position': String(position) }),
  }
}

/** Notes when the first byte came, and what came where the key has it kept. */
function timed(tap: Tap, record: OpenRecord, keeper: Keeper | undefined): Tap {
  record.firstByteAt = performance.now()
  if (!keeper) return tap
  return {
    get pieces() {
      return tap.pieces
    },
    pass(chunk) {
      const passes = tap.pass(chunk)
      if (passes) keeper.add(passes)
      return passes
    },
    whole: () => tap.whole(),
    usage: () => tap.usage(),
    broken: (message) => tap.broken(message),
  }
}

/**
 * As the engine says it; of what was cut or left, the pieces that went by. Who leaves before the first of them
 * has had the engine read the prompt nevertheless.
 */
function usageOf(forwarded: Forwarded | undefined, { backend }: OpenRecord, estimate: number): Usage {
  const tap = forwarded?.tap
  if (!tap) return { input: forwarded?.ended === 'left' && backend !== undefined ? estimate : 0, output: 0 }
  return tap.usage() ?? { input: estimate, output: tap.pieces }
}

interface Keeper {
  add(chunk: Buffer): void
  text(): string
}

/** Longer answers are kept as far as that. */
const maxKeptBytes = 1024 * 1024

function keepAnswer(): Keeper {
  const chunks: Buffer[] = []
  let bytes = 0
  return {
    add(chunk) {
      if (bytes >= maxKeptBytes) return
      bytes += chunk.length
      chunks.push(chunk)
    },
    text: () => Buffer.concat(chunks).toString(),
  }
}

function keepPrompt(
  { ledger }: Recorder,
  { key }: Member,
  record: OpenRecord,
  request: Buffer,
  response: string,
): void {
  if (key?.promptLogMs == null) return
  const at = Date.now()
  ledger.keepPrompt({
    at,
    request_id: record.id,
    key_id: key.id,
    key: key.name,
    model: record.model ?? null,
    request: request.subarray(0, maxKeptBytes).toString(),
    response,
    expires_at: at + key.promptLogMs,
  })
}

/** The same for each request of a conversation: who has it, and how it began. */
function conversationOf({ key, deviceId }: Member, { model, messages, prompt, input }: ModelRequest): string {
  const beginning = Array.isArray(messages) ? messages.slice(0, 2) : (prompt ?? input)
  return hash('sha1', JSON.stringify([key?.id ?? deviceId, model, beginning])?.slice(0, 65_536) ?? '')
}
