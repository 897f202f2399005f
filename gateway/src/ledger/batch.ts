/** What crosses to the writer of the ledger, and back. */

/** JSON lists of rows, since a string crosses to a worker at the least cost. */
export interface Batch {
  readonly number: number
  readonly audit: string
  readonly spending: string
  readonly prompts: string
  /** A JSON list of `Forgotten`. */
  readonly forget: string
  /** Rows of before are deleted: milliseconds since the epoch; 0 for none. */
  readonly keepAuditFrom: number
  readonly now: number
}

/** A person who deleted their account. */
export interface Forgotten {
  readonly person: string
  /** Ids of the keys that were theirs. */
  readonly keys: readonly string[]
}

export interface Written {
  readonly number: number
  /** What went wrong; undefined where the batch is on disk. */
  readonly error?: string
  /** Code of a `Problem`. */
  readonly code?: string
}

/** Writes batches one after another, each whole or not at all. */
export interface BatchWriter {
  write(batch: Batch): Promise<void> | void
  close(): Promise<void> | void
}
