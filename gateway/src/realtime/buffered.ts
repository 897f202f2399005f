/** What somebody makes, begun at once and kept, so that it can be read later, or from where reading stopped. */

export interface Buffered<Piece> {
  /** Each piece from there on, as they come. One reader at a time. Throws what the source threw, or the signal's reason. */
  read(from: number, signal: AbortSignal): AsyncGenerator<Piece>
}

export function buffered<Piece>(source: AsyncIterable<Piece>): Buffered<Piece> {
  const pieces: Piece[] = []
  let state: 'open' | 'over' | { readonly failure: unknown } = 'open'
  let wake = (): void => {}
  void (async () => {
    try {
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
        for (let at = from; ; ) {
          signal.throwIfAborted()
          if (at < pieces.length) {
            yield pieces[at] as Piece
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
  }
}
