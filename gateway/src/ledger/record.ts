/** One request as it goes: what is learnt of it is put here, and its end makes a row of it. */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Usage } from '#admission/admission.ts'
import type { Caller, Member } from '#identity/caller.ts'
import { normal } from '#identity/directory.ts'
import type { AuditRow, Ledger } from './ledger.ts'
import type { Metrics } from './metrics.ts'

export interface Recorder {
  readonly ledger: Pick<Ledger, 'record' | 'keepPrompt'>
  readonly metrics: Pick<Metrics, 'observe' | 'talked'>
  /** Called with what is open, so that it can be ended when its caller is no more. Returns what forgets it. */
  opened(open: Open): () => void
}

export interface Open {
  readonly caller: Member
  end(): void
}

export interface OpenRecord {
  /** `x-request-id` */
  readonly id: string
  caller: Caller | undefined
  service?: string
  model?: string
  backend?: string
  /** Code of the failure, where it was refused. */
  refusal?: string
  /** What it made, where the path that was asked does not say. */
  made?: string
  usage?: Usage
  /** `upstream` where the engine said what it took, `counted` where it could not any more. */
  counted?: 'upstream' | 'counted'
  queuedMs?: number
  /** Of `performance.now()`, as `began` of the request. */
  firstByteAt?: number
  ended?: 'whole' | 'cut' | 'left'
}

/** Unique across restarts, and cheap. */
const run = randomBytes(6).toString('base64url')
let last = 0

export function nextRequestId(): string {
  last += 1
  return `req_${run}${last.toString(36)}`
}

/**
 * Its row is written when the answer is over and `handled` was called, whichever comes last: what was used is
 * known only when both are.
 * @param quiet whether a good end makes no row
 */
export function openRecord(
  recorder: Recorder,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  quiet: boolean,
): { readonly record: OpenRecord; handled(): void } {
  const at = Date.now()
  const began = performance.now()
  const { remoteAddress = '' } = incoming.socket
  const record: OpenRecord = { id: nextRequestId(), caller: undefined }
  let closed: Pick<RecordedRequest, 'status' | 'durationMs'> | undefined
  let handled = false
  const end = (): void => {
    if (!closed || !handled) return
    if (quiet && closed.status < 400) return
    const [path = '/'] = (incoming.url ?? '/').split('?', 1)
    const ended = record.ended ?? (outgoing.writableFinished ? 'whole' : 'left')
    write(recorder, record, {
      at,
      began,
      address: remoteAddress,
      method: incoming.method ?? '',
      path,
      ended,
      ...closed,
    })
  }
  outgoing.once('close', () => {
    const left = !outgoing.writableFinished && !outgoing.headersSent
    closed = { status: left ? clientLeft : outgoing.statusCode, durationMs: since(began) }
    end()
  })
  return {
    record,
    handled() {
      handled = true
      end()
    },
  }
}

/** nginx's and Ollama's own number for it; no client sees it. */
const clientLeft = 499

export interface RecordedRequest {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Of `performance.now()`: what lasts goes by a clock that nobody sets. */
  readonly began: number
  readonly address: string
  readonly method: string
  readonly path: string
  readonly status: number
  readonly durationMs: number
  readonly ended: 'whole' | 'cut' | 'left'
}

/** Whole milliseconds since a time of `performance.now()`. */
export function since(began: number): number {
  return Math.round(performance.now() - began)
}

/** Makes the row. */
export function write({ ledger, metrics }: Recorder, open: OpenRecord, request: RecordedRequest): void {
  const { caller, usage, firstByteAt } = open
  const member = caller?.kind === 'guest' ? undefined : caller
  const row: AuditRow = {
    at: request.at,
    request_id: open.id,
    tenant: member?.tenant.name ?? null,
    person: member?.person ?? null,
    device_id: member?.deviceId ?? null,
    device: caller === undefined || caller.name === '' ? null : caller.name,
    key_id: member?.key?.id ?? null,
    key: member?.key?.name ?? null,
    address: normal(request.address),
    method: request.method,
    path: (open.made ?? request.path).slice(0, 512),
    service: open.service ?? null,
    model: open.model ?? null,
    backend: open.backend ?? null,
    status: request.status,
    refusal: open.refusal ?? null,
    input_tokens: usage?.input ?? 0,
    output_tokens: usage?.output ?? 0,
    counted: open.counted ?? 'none',
    queued_ms: open.queuedMs ?? 0,
    first_byte_ms: firstByteAt === undefined ? null : Math.round(firstByteAt - request.began),
    duration_ms: request.durationMs,
    ended: request.ended,
  }
  ledger.record(row)
  metrics.observe(row)
}
