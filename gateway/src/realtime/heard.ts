/** What of a spoken answer was heard: its chunks with the time that each takes, cut where the listener stopped. Pure. */

export interface Heard {
  /** Adds what is spoken next, with the space before it, when its sound is known to be that long. */
  speak(text: string, ms: number): void
  /** All of it, in milliseconds. */
  readonly ms: number
  /** How many chunks are heard to their end by then. */
  whole(ms: number): number
  /**
   * The words that are heard by then: whole chunks, and of the one that is cut as many words as fit its share.
   * A time past the end is the end: clients count from when they began to play, and are a little late.
   */
  until(ms: number): string
}

export function createHeard(): Heard {
  const chunks: { readonly text: string; readonly from: number; readonly to: number }[] = []
  const end = (): number => chunks.at(-1)?.to ?? 0
  return {
    get ms() {
      return end()
    },
    speak(text, ms) {
      chunks.push({ text, from: end(), to: end() + Math.max(0, ms) })
    },
    whole: (ms) => chunks.filter(({ to }) => to <= ms).length,
    until(ms) {
      return chunks
        .filter(({ from }) => from < ms)
        .map(({ text, from, to }) => (to <= ms ? text : part(text, (ms - from) / (to - from))))
        .join('')
        .trim()
    },
  }
}

function part(text: string, share: number): string {
  const words = text.match(/\s*\S+/g) ?? []
  return words.slice(0, Math.floor(words.length * share)).join('')
}
