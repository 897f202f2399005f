import type { Message } from '~/realtime/messages'
import type { Talk } from './useTalk'

/** One piece is said while it is short; the next is asked for when it is over. */
const longestPiece = 400

/** Reads a message aloud, one at a time; asked for again, it stops. */
export function useReadAloud({ reader, sound, speech, stop, complain }: Talk) {
  const preferences = usePreferences()
  const { voice } = useVoices()
  const sample = useVoiceSample(sound)
  const reading = ref<string>()

  async function read({ id, text }: Message): Promise<void> {
    const again = reading.value === id
    stop()
    sample.stop()
    reading.value = again ? undefined : id
    if (again) return
    if (speech.value === null) return readByBrowser(text)
    for (const input of piecesOf(plain(text))) {
      await sample.say({ input, voice: voice.value, speed: preferences.speed })
      if (reading.value !== id) return
      if (sample.problem.value !== undefined) {
        complain(sample.problem.value)
        break
      }
    }
    reading.value = undefined
  }

  function readByBrowser(text: string): void {
    reader.add(plain(text))
    reader.finish()
    // Some browsers have no voice.
    if (!reader.speaking.value) reading.value = undefined
  }
  watch(reader.speaking, (speaking) => {
    if (!speaking && speech.value === null) reading.value = undefined
  })
  return { reading, read }
}

/** The words, without the signs of Markdown; code is not read. */
function plain(text: string): string {
  return text
    .replaceAll(/^ {0,3}(`{3,}|~{3,})[\s\S]*?(?:^ {0,3}\1|(?![\s\S]))/gm, ' ')
    .replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/[*_`#>|~]+/g, ' ')
    .trim()
}

/** Sentences, some together. */
function piecesOf(text: string): string[] {
  const pieces: string[] = []
  for (const { segment } of new Intl.Segmenter(undefined, { granularity: 'sentence' }).segment(text)) {
    const last = pieces.at(-1)
    if (last !== undefined && last.length + segment.length <= longestPiece)
      pieces[pieces.length - 1] = last + segment
    else if (segment.trim()) pieces.push(segment)
  }
  return pieces
}
