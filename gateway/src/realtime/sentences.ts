/**
 * An answer, cut into what is spoken at a time: a clause first, so that the voice begins soon, then sentences.
 * Pure. However much comes in one piece, all of it comes out, in order.
 */

export interface Sentences {
  /** What can be spoken now that this came, in order. */
  push(text: string): string[]
  /** What is left when no more will come. */
  end(): string[]
}

/** Fewer words at the beginning would sound like a gasp. */
const leastClauseWords = 4
/** A sentence without an end is cut at a clause, and past twice that between words: engines choke on more. */
const longCharacters = 240
/** Nobody waits for a first sentence that does not end. */
const longStart = 120

/** Each takes milliseconds to make, and the first one ten. */
const segmenters = new Map<string | undefined, Intl.Segmenter>()

function segmenterOf(locale: string | undefined): Intl.Segmenter {
  const known = segmenters.get(locale)
  if (known) return known
  const [supported] = locale === undefined ? [] : Intl.Segmenter.supportedLocalesOf([locale])
  const made = segmenters.get(supported) ?? new Intl.Segmenter(supported, { granularity: 'sentence' })
  segmenters.set(supported, made)
  return made
}

// The first use of the first one takes ten milliseconds more: nobody's answer shall.
Array.from(segmenterOf(undefined).segment('Made. Ready.'))

/** @param locale of the answer, BCP 47; undefined for the machine’s */
export function createSentences(locale?: string): Sentences {
  const segmenter = segmenterOf(locale)
  let rest = ''
  let begun = false

  const take = (length: number, chunks: string[]): void => {
    const chunk = rest.slice(0, length).trim()
    rest = rest.slice(length)
    if (!/[\p{L}\p{N}]/u.test(chunk)) return
    begun = true
    chunks.push(chunk)
  }
  return {
    push(text) {
      rest += text
      const chunks: string[] = []
      for (;;) {
        // Only what another one follows is whole: “3.” may go on as “3.14”.
        const whole = wholeIn(segmenter.segment(rest))
        const clause = begun && (whole ?? rest.length) <= longCharacters ? undefined : clauseIn(rest, whole)
        if (clause !== undefined) take(clause, chunks)
        else if (whole !== undefined) take(whole, chunks)
        else if (rest.length > (begun ? 2 * longCharacters : longStart)) take(lastSpace(rest, begun), chunks)
        else return chunks
      }
    },
    end() {
      const chunks: string[] = []
      for (let left = rest; left !== ''; left = rest)
        take(wholeIn(segmenter.segment(left)) ?? left.length, chunks)
      return chunks
    },
  }
}

/** Intl.Segmenter ends a sentence after these; a voice would, too. */
const abbreviation =
  /(?:^|\s)(?:Dr|Mr|Mrs|Ms|Prof|St|Sr|Jr|vs|approx|e\.g|i\.e|bzw|ca|z\.\s?B|d\.\s?h)\.\s*$/i

/** Where the first sentence ends that another one follows; undefined where none does. */
function wholeIn(segments: Iterable<Intl.SegmentData>): number | undefined {
  let end = 0
  let whole = false
  for (const { segment } of segments) {
    if (whole) return end
    end += segment.length
    whole = !abbreviation.test(segment)
  }
  return undefined
}

/** Where a clause ends that has enough words to be spoken alone; undefined where none does. */
function clauseIn(text: string, whole: number | undefined): number | undefined {
  for (const match of text.slice(0, whole).matchAll(/[,;:–—][\s]|\n/g)) {
    const end = match.index + match[0].length
    if (whole !== undefined && end >= whole) return undefined
    if (text.slice(0, end).trim().split(/\s+/).length >= leastClauseWords) return end
  }
  return undefined
}

function lastSpace(text: string, begun: boolean): number {
  const most = begun ? longCharacters : longStart
  const at = text.lastIndexOf(' ', most)
  return at > 0 ? at : most
}
