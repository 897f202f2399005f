/** What is wrong with a CA or a request to it (message), and what helps (remedy). */
export class AuthorityError extends Error {
  readonly code: AuthorityFault
  readonly remedy: string

  constructor(code: AuthorityFault, message: string, remedy: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'AuthorityError'
    this.code = code
    this.remedy = remedy
  }
}

export type AuthorityFault =
  | 'missing'
  /** Some files are there and not all, or one is cut short. */
  | 'half_written'
  /** By this machine's clock, which may be what is wrong. */
  | 'expired'
  /** A CA that Sotto would not make: it may sign for names of others. */
  | 'foreign'
  /** Files that do not belong together. */
  | 'mismatch'
  /** A name outside the constraints, or one that is no name. */
  | 'not_permitted'
  /** Writing would replace what is there. */
  | 'taken'
  /** The root's private key is not where it was looked for. */
  | 'root_key'
  | 'no_rollover'
  | 'wrong_passphrase'
  | 'short_passphrase'
  | 'no_passphrase'
  /** The system refuses to read or write. */
  | 'inaccessible'
