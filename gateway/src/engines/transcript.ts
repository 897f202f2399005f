/** The words in what a Whisper sends, without those that nobody said. */
import { z } from 'zod'
import { Failure } from '../failure.ts'
import { parseJson } from './json.ts'

const transcript = z.object({
  text: z.string(),
  segments: z
    .array(
      z.object({
        text: z.string(),
        no_speech_prob: z.number().optional(),
        avg_logprob: z.number().optional(),
      }),
    )
    .optional()
    .catch(undefined),
})

type Segment = NonNullable<z.infer<typeof transcript>['segments']>[number]

/** What whisper.cpp writes for silence (VocaHQ/vocalinux#222). */
const blank = /\[BLANK_AUDIO\]/gi

/**
 * One trimmed line, from `json` or `verbose_json`; empty where nothing was said. Throws a `Failure`
 * `bad_upstream` for anything else.
 */
export function wordsIn(body: string): string {
  const read = transcript.safeParse(parseJson(body))
  if (!read.success) throw new Failure('bad_upstream', 'Whisper sent something that is no transcript.', body)
  const { text, segments = [] } = read.data
  const said = segments.filter((segment) => !isInvented(segment))
  return onOneLine(said.length < segments.length ? said.map((segment) => segment.text).join('') : text)
}

/** Trimmed, and without the marks that stand for silence. */
export function onOneLine(words: string): string {
  return words.replaceAll(blank, '').replaceAll(/\s+/g, ' ').trim()
}

/**
 * Words for a silence, such as “Thank you for watching”: Whisper itself doubts both that there was speech and
 * what it was. Its thresholds. Source: `transcribe.py` in openai/whisper.
 */
function isInvented({ no_speech_prob: noSpeech = 0, avg_logprob: likelihood = 0 }: Segment): boolean {
  return noSpeech > 0.6 && likelihood < -1
}
