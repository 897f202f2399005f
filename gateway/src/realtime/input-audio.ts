/** What the microphone sent, by its place since the session began: bounded, gapless, one piece when it is needed. */

export interface InputAudio {
  /** Samples so far, forgotten ones too. */
  readonly position: number
  append(samples: Int16Array): void
  /** What is kept between two places, in one piece. */
  slice(from: number, to: number): Int16Array
  /** Lets go of what lies before. */
  forget(before: number): void
}

export function createInputAudio(): InputAudio {
  const pieces: { readonly at: number; readonly samples: Int16Array }[] = []
  let position = 0
  return {
    get position() {
      return position
    },
    append(samples) {
      pieces.push({ at: position, samples })
      position += samples.length
    },
    slice(from, to) {
      const start = Math.max(from, pieces[0]?.at ?? position)
      const whole = new Int16Array(Math.max(0, Math.min(to, position) - start))
      for (const { at, samples } of pieces) {
        const first = Math.max(0, start - at)
        const last = Math.min(samples.length, start + whole.length - at)
        if (first < last) whole.set(samples.subarray(first, last), at + first - start)
      }
      return whole
    },
    forget(before) {
      let count = 0
      for (const { at, samples } of pieces) {
        if (at + samples.length > before) break
        count += 1
      }
      pieces.splice(0, count)
    },
  }
}
