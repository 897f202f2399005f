/**
 * What goes wrong and may be told to a client. The message is written for the person at the other end: it
 * names the field or the remedy and holds no address, path or secret; those go into `cause`, for the log.
 * Any other error that reaches an edge is `internal` there.
 */
export class Failure extends Error {
  readonly code: FailureCode

  constructor(code: FailureCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'Failure'
    this.code = code
  }
}

/** Each dialect maps these to its own statuses and envelopes. */
export type FailureCode =
  /** The request can't be right whatever the state of things. */
  | 'invalid'
  | 'forbidden'
  | 'not_found'
  | 'too_large'
  /** The upstream can't be reached or is busy: trying again may help. */
  | 'unavailable'
  /** The upstream answered, but not with what its protocol promises. */
  | 'bad_upstream'
  | 'internal'
