import { Problem } from '@sotto/provisioning/problem.ts'

/**
 * What goes wrong and may be told to a client. The message is written for the person at the other end: it
 * names the field or the remedy and holds no address, path or secret; those go into `cause`, for the log.
 * Any other error that reaches an edge is `internal` there.
 */
export class Failure extends Error {
  readonly code: FailureCode
  /** Seconds after which trying again may help; undefined where that is not known. */
  readonly retryAfter: number | undefined
  /** A finer code, for our own paths and the audit: `device_exists`. Left out, `code`. */
  readonly detail: string
  /** The step that helps, for our own paths; empty where the message says it all. */
  readonly remedy: string

  constructor(
    code: FailureCode,
    message: string,
    cause?: unknown,
    { retryAfter, detail = code, remedy = '' }: FailureOptions = {},
  ) {
    super(message, { cause })
    this.name = 'Failure'
    this.code = code
    this.retryAfter = retryAfter
    this.detail = detail
    this.remedy = remedy
  }
}

type FailureOptions = Partial<Pick<Failure, 'detail' | 'remedy'>> & { readonly retryAfter?: number }

/** Each dialect maps these to its own statuses and envelopes. */
export type FailureCode =
  /** The request can't be right whatever the state of things. */
  | 'invalid'
  /** A key that is none, or no more. */
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'method'
  /** It does not go with how things are: the name is taken, others depend on it. */
  | 'conflict'
  | 'too_large'
  /** A Host that is not ours. */
  | 'misdirected'
  /** Too many in too short a time: later it goes. */
  | 'rate_limited'
  /** A budget is spent: trying again does not help until its window is over. */
  | 'quota'
  /** Everything that could answer is busy, and too many wait. */
  | 'busy'
  /** The upstream can't be reached or is starting: trying again may help. */
  | 'unavailable'
  /** The upstream answered, but not with what its protocol promises. */
  | 'bad_upstream'
  | 'internal'

/** For a database to be there again, in seconds. */
const awayForSeconds = 2

/** Anything that is no `Failure` is ours, and its text stays in the log; but for a database that is away for now. */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  if (error instanceof Problem && error.code === 'database_away') return databaseAway(error)
  return new Failure('internal', 'The gateway failed at this request. Its log says why.', error)
}

/** Nothing was changed, or it can be asked for again. */
export function databaseAway(cause?: unknown): Failure {
  return new Failure('unavailable', 'The gateway’s database is away for the moment. Try again soon.', cause, {
    retryAfter: awayForSeconds,
    detail: 'database_away',
  })
}
