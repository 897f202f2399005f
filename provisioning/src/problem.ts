/** What an admin can mend: what is wrong, and the step that mends it. The terminal prints both, no stack. */
export class Problem extends Error {
  readonly code: string
  /** The command or step that helps; empty where the message says it all. */
  readonly remedy: string

  constructor(code: string, message: string, remedy = '', cause?: unknown) {
    super(message, { cause })
    this.name = 'Problem'
    this.code = code
    this.remedy = remedy
  }
}
