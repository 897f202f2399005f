/** Says the pieces of an answer, one after another and none left out, while the next is already being made. */

export interface Voice {
  /** Adds what is said next. */
  say(text: string): void
  /** Resolves when all of it was given away. Throws what the engine threw. */
  finished(): Promise<void>
}

export interface VoiceDeps {
  /** Sound of a text, PCM16 mono at 24 kHz, made from now on and ahead of who reads it. */
  speak(text: string, signal: AbortSignal): AsyncIterable<Int16Array>
  /** The first sound of a text comes next. */
  begin(text: string): void
  /** Resolves when more is wanted. */
  sound(samples: Int16Array): Promise<void> | undefined
  /** All of its sound was given. */
  end(samples: number): void
  /** It can't go on: called once, at once. */
  failed(error: unknown): void
  readonly signal: AbortSignal
}

/** One is heard, the next is being made: more at once would slow the first on a small machine. */
const ahead = 2

export function createVoice(deps: VoiceDeps): Voice {
  const waiting: string[] = []
  const made: { readonly text: string; readonly sound: AsyncIterable<Int16Array> }[] = []
  let saying: Promise<void> | undefined
  let failed: unknown
  const fill = (): void => {
    while (made.length < ahead) {
      const text = waiting.shift()
      if (text === undefined) return
      made.push({ text, sound: deps.speak(text, deps.signal) })
    }
  }
  const run = async (): Promise<void> => {
    for (let next = made[0]; next; next = made[0]) {
      let samples = 0
      for await (const piece of next.sound) {
        deps.signal.throwIfAborted()
        if (samples === 0) deps.begin(next.text)
        samples += piece.length
        await deps.sound(piece)
        // What was made ahead is there, wanted or not.
        deps.signal.throwIfAborted()
      }
      if (samples === 0) deps.begin(next.text)
      deps.end(samples)
      made.shift()
      fill()
    }
  }
  return {
    say(text) {
      if (failed !== undefined) return
      waiting.push(text)
      fill()
      saying ??= run()
        .catch((error: unknown) => {
          failed ??= error
          deps.failed(error)
        })
        .finally(() => {
          saying = undefined
        })
    },
    async finished() {
      await saying
      if (failed !== undefined) throw failed
    },
  }
}
