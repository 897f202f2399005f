/**
 * An answer as the model writes it, before anybody has it: begun on a guess and taken up when it holds, or taken
 * from a response that was interrupted and read on where that stopped.
 */
import type { ChatPiece, ChatWish } from '#engines/engine.ts'

type Usage = Parameters<NonNullable<ChatWish['onUsage']>>[0]

export interface Draft {
  /** Each piece from there on, as they come. One reader at a time. Throws what the engine threw, or the signal's reason. */
  read(from: number, signal: AbortSignal): AsyncGenerator<ChatPiece>
  /** Whether it can't be had whole any more. */
  readonly failed: boolean
  /** What it took, once the engine has said it. */
  readonly usage: Usage | undefined
  /** Ends the request behind it. */
  drop(): void
}

/** @param write the answer, ended by the signal that it is given */
export function createDraft(
  write: (signal: AbortSignal, onUsage: (usage: Usage) => void) => AsyncIterable<ChatPiece>,
): Draft {
  const abort = new AbortController()
  const pieces: ChatPiece[] = []
  let usage: Usage | undefined
  let state: 'open' | 'over' | { readonly failure: unknown } = 'open'
  let wake = (): void => {}
  void (async () => {
    try {
      const source = write(abort.signal, (told) => {
        usage = told
      })
      for await (const piece of source) {
        pieces.push(piece)
        wake()
      }
      state = 'over'
    } catch (failure) {
      state = { failure }
    }
    wake()
  })()
  return {
    async *read(from, signal) {
      const woken = (): void => wake()
      signal.addEventListener('abort', woken)
      try {
        for (let at = from; ;) {
          signal.throwIfAborted()
          const piece = pieces[at]
          if (piece !== undefined) {
            yield piece
            at += 1
          } else if (state === 'over') return
          else if (typeof state === 'object') throw state.failure
          else
            await new Promise<void>((settle) => {
              wake = settle
            })
        }
      } finally {
        signal.removeEventListener('abort', woken)
      }
    },
    get failed() {
      return typeof state === 'object'
    },
    get usage() {
      return usage
    },
    drop: () => abort.abort(),
  }
}
