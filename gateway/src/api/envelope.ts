/** A failure in the words of each dialect: the status, the headers and the body that its clients read. */
import type { Failure, FailureCode } from '../failure.ts'

const statuses = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method: 405,
  conflict: 409,
  too_large: 413,
  misdirected: 421,
  rate_limited: 429,
  quota: 429,
  busy: 503,
  unavailable: 503,
  bad_upstream: 502,
  internal: 500,
} as const satisfies Record<FailureCode, number>

export type ErrorStatus = (typeof statuses)[FailureCode]

export interface Dialect {
  /** The body of an error. */
  error(failure: Failure, status: ErrorStatus, requestId: string): object
}

/** Ollama's native API: a string. */
export const ollamaDialect: Dialect = { error: ({ message }) => ({ error: message }) }

/** Our own paths: an object with a code, as `Problem`s have it. */
export const ownDialect: Dialect = {
  error: ({ detail, message, remedy }) => ({ error: { code: detail, message, remedy } }),
}

const openAiCodes: Partial<Record<FailureCode, string>> = {
  unauthorized: 'invalid_api_key',
  rate_limited: 'rate_limit_exceeded',
  quota: 'insufficient_quota',
}

/** OpenAI's API: an object, with the field that is at fault where the message begins with one. */
export const openAiDialect: Dialect = {
  error({ code, message }, status) {
    const param = /^([a-z_.]+): /.exec(message)?.[1] ?? null
    return {
      error: {
        message,
        type: openAiType(code, status),
        param,
        code: openAiCodes[code] ?? (code === 'not_found' && param === 'model' ? 'model_not_found' : code),
      },
    }
  },
}

function openAiType(code: FailureCode, status: number): string {
  if (code === 'quota') return 'insufficient_quota'
  if (status === 429) return 'rate_limit_error'
  if (status === 404) return 'not_found_error'
  return status < 500 ? 'invalid_request_error' : 'api_error'
}

const anthropicTypes: Partial<Record<FailureCode, string>> = {
  unauthorized: 'authentication_error',
  forbidden: 'permission_error',
  not_found: 'not_found_error',
  too_large: 'request_too_large',
  rate_limited: 'rate_limit_error',
  quota: 'rate_limit_error',
  busy: 'overloaded_error',
  unavailable: 'overloaded_error',
}

/** Anthropic's API. Source: docs.anthropic.com, “Errors”. */
export const anthropicDialect: Dialect = {
  error: ({ code, message }, status, requestId) => ({
    type: 'error',
    error: { type: anthropicTypes[code] ?? (status < 500 ? 'invalid_request_error' : 'api_error'), message },
    request_id: requestId,
  }),
}

/** What trying again at once makes worse: clients of OpenAI's and Anthropic's kind obey it. */
const hopeless: ReadonlySet<FailureCode> = new Set(['quota', 'busy'])

export function statusOf({ code }: Failure): ErrorStatus {
  return statuses[code]
}

export function errorHeaders({ code, retryAfter }: Failure): Record<string, string> {
  return {
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
    ...(hopeless.has(code) && { 'x-should-retry': 'false' }),
  }
}
