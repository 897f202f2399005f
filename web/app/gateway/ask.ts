/** Asks the gateway: JSON there and back, and its refusals as errors with what to do. */
import type { Refusal } from '@sotto/gateway/protocol/devices.ts'
import { readonly, ref } from 'vue'

const away = ref(false)
/** Whether the gateway was out of reach when it was asked last. */
export const unreachable = readonly(away)

/** Why the gateway did not do it. `unreachable` and `unexpected` are ours, and have no words of its own. */
export class Refused extends Error {
  readonly code: string
  readonly remedy: string
  constructor({ code, message, remedy }: Refusal['error']) {
    super(message)
    this.name = 'Refused'
    this.code = code
    this.remedy = remedy
  }
}

/** Throws `Refused`. An answer without content gives undefined. A signal of `AbortSignal.timeout` is a deadline. */
export async function ask<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const answer = await fetch(useGateway().url(path), {
    method,
    cache: 'no-store',
    ...(signal && { signal }),
    ...(body !== undefined && {
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    }),
  }).catch(() => {
    if (!signal?.aborted || signal.reason.name === 'TimeoutError') away.value = true
    throw new Refused({ code: 'unreachable', message: '', remedy: '' })
  })
  away.value = false
  const text = await answer.text()
  const content = parse(text)
  if (answer.ok && (text === '' || content !== undefined)) return content
  throw new Refused(isRefusal(content) ? content.error : { code: 'unexpected', message: '', remedy: '' })
}

function parse(text: string) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isRefusal(content: unknown): content is Refusal {
  if (typeof content !== 'object' || content === null || !('error' in content)) return false
  const { error } = content
  return typeof error === 'object' && error !== null && 'message' in error && 'remedy' in error
}
