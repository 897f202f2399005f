/**
 * An answer as the model writes it, before anybody has it: begun on a guess and taken up when it holds, or taken
 * from a response that was interrupted and read on where that stopped.
 */
import type { ChatPiece } from '#engines/engine.ts'
import { buffered, type Buffered } from './buffered.ts'

export interface Draft extends Buffered<ChatPiece> {
  /** Ends the request behind it. */
  drop(): void
}

/** @param write the answer, ended by the signal that it is given */
export function createDraft(write: (signal: AbortSignal) => AsyncIterable<ChatPiece>): Draft {
  const abort = new AbortController()
  return { ...buffered(write(abort.signal)), drop: () => abort.abort() }
}
