/**
 * Words of a recording that goes on, from transcripts of it that grow: what two of them in a row agree on is
 * said, and never taken back (LocalAgreement-2: Macháček et al. 2023, “Turning Whisper into Real-Time
 * Transcription System”). Pure.
 */

export interface Agreement {
  /** Takes the newest transcript of the recording so far. */
  hear(transcript: string): Heard
  /** The words that were agreed on. */
  readonly agreed: string
}

export interface Heard {
  /** Words that are agreed on now and were not before, with the space in front of them. */
  readonly delta: string
  /** What the newest transcript has beyond them: it may change yet. */
  readonly tail: string
}

export function createAgreement(): Agreement {
  let before: readonly string[] = []
  const agreed: string[] = []
  return {
    get agreed() {
      return agreed.join(' ')
    },
    hear(transcript) {
      const words = transcript.split(/\s+/).filter((word) => word !== '')
      const from = agreed.length
      // A transcript that changed what was agreed on says nothing about where it goes on.
      const follows = agreed.every((word, at) => alike(word, words[at]))
      if (follows)
        for (let at = from; at < words.length && alike(words[at], before[at]); at += 1)
          agreed.push(words[at] ?? '')
      before = words
      const added = agreed.slice(from)
      return {
        delta: added.length === 0 ? '' : (from === 0 ? '' : ' ') + added.join(' '),
        tail: follows ? words.slice(agreed.length).join(' ') : '',
      }
    },
  }
}

/** Whisper changes its mind about commas and capitals, and means the same word. */
function alike(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && other !== undefined && bare(one) === bare(other)
}

function bare(word: string): string {
  const letters = word.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '')
  return letters === '' ? word : letters
}
