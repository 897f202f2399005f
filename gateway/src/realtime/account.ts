/** What each answer of a session costs: admitted before, settled and written down after. */
import type { Admission, Usage } from '#admission/admission.ts'
import { statusOf } from '#api/envelope.ts'
import { bytesPerToken } from '#api/inference.ts'
import type { ChatPiece, ChatWish } from '#engines/engine.ts'
import { queuesAs, type Member } from '#identity/caller.ts'
import { nextRequestId, write, type OpenRecord, type Recorder, since } from '#ledger/record.ts'
import { asFailure } from '../failure.ts'

export interface Account {
  /**
   * Gives the answer through, admitted. Throws what refuses it, or what `answer` throws.
   *
   * @param signal ends it: nobody wants it any more
   * @param answer called with the wish as it was admitted
   */
  charge(
    wish: ChatWish,
    signal: AbortSignal,
    answer: (admitted: ChatWish) => AsyncIterable<ChatPiece>,
  ): AsyncGenerator<ChatPiece>
}

export interface AccountDeps {
  /** The caller as the admin has it now: a session may be days old. Throws a `Failure` where there is none any more. */
  current(): Member | Promise<Member>
  readonly address: string
  readonly admission: Admission
  readonly recorder: Recorder
  /** What it is written down as, and whether its connection was admitted already; left out, a session. */
  readonly as?: Charged
}

interface Charged {
  readonly service: string
  readonly method: string
  readonly path: string
  readonly connected: boolean
}

const session: Charged = { service: 'realtime', method: 'WS', path: '/v1/realtime', connected: true }

/** Above what a template adds to a message, in bytes. */
const templateBytes = 32
/** Above what models that see make of a picture, as if it were text. */
const imageBytes = 8_192

export function createAccount({ current, address, admission, recorder, as = session }: AccountDeps): Account {
  const { service, method, path, connected } = as
  return {
    async *charge(wish, signal, answer) {
      const at = Date.now()
      const began = performance.now()
      const record: OpenRecord = { id: nextRequestId(), caller: undefined, service }
      if (wish.model !== null) record.model = wish.model
      let usage: Usage | undefined
      let pieces = 0
      let status = 200
      try {
        const bound = wish.messages.reduce(
          (sum, { content, images = [] }) =>
            sum + Buffer.byteLength(content) + images.length * imageBytes + templateBytes,
          templateBytes + Buffer.byteLength(JSON.stringify(wish.tools ?? '')),
        )
        const caller = await current()
        record.caller = caller
        const permit = await admission.admit(caller, {
          service,
          connected,
          ...(wish.model !== null && { model: wish.model }),
          tokens: { inputBound: bound, inputEstimate: Math.ceil(bound / bytesPerToken), output: wish.output },
        })
        try {
          const admitted: ChatWish = {
            ...wish,
            ...(permit.output !== undefined && { output: permit.output }),
            tenant: caller.tenant.id,
            caller: queuesAs(caller),
            onUsage(told) {
              usage = told
              wish.onUsage?.(told)
            },
          }
          for await (const piece of answer(admitted)) {
            record.firstByteAt ??= performance.now()
            pieces += 1
            yield piece
          }
        } finally {
          record.counted = usage ? 'upstream' : 'counted'
          record.usage = usage ?? { input: pieces > 0 ? Math.ceil(bound / bytesPerToken) : 0, output: pieces }
          permit.settle(record.usage)
        }
      } catch (error) {
        if (signal.aborted) throw error
        const failure = asFailure(error)
        record.refusal = failure.code
        status = statusOf(failure)
        throw error
      } finally {
        const left = !usage && status === 200
        if (left) status = 499
        const ended = left ? 'left' : 'whole'
        const durationMs = since(began)
        write(recorder, record, {
          at,
          began,
          durationMs,
          address,
          method,
          path,
          status,
          ended,
        })
      }
    },
  }
}
