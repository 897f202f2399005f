/** A failure in the words of each dialect: the status and the body that its clients read. */
import { Failure, type FailureCode } from '../failure.ts'

const statuses = {
  invalid: 400,
  forbidden: 403,
  not_found: 404,
  too_large: 413,
  unavailable: 503,
  bad_upstream: 502,
  internal: 500,
} as const satisfies Record<FailureCode, number>

export type ErrorStatus = (typeof statuses)[FailureCode]

export interface Told<Body> {
  readonly status: ErrorStatus
  readonly body: Body
}

/** Anything that is no `Failure` is ours, and its text stays in the log. */
export function asFailure(error: unknown): Failure {
  return error instanceof Failure
    ? error
    : new Failure('internal', 'The gateway failed at this request.', error)
}

/** Ollama's native API: a string. */
export function ollamaError(error: unknown): Told<{ error: string }> {
  const { code, message } = asFailure(error)
  return { status: statuses[code], body: { error: message } }
}

export interface OpenAiError {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: string | null
  }
}

/** OpenAI's API: an object, with the field that is at fault where the message begins with one. */
export function openAiError(error: unknown): Told<OpenAiError> {
  const { code, message } = asFailure(error)
  const status = statuses[code]
  const type = status < 500 ? (status === 404 ? 'not_found_error' : 'invalid_request_error') : 'api_error'
  const param = /^([a-z_]+): /.exec(message)?.[1] ?? null
  return { status, body: { error: { message, type, param, code } } }
}
