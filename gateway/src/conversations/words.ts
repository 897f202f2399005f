/** The words of an item, whatever its type: for the search, and for a title. */
import { isRecord } from '#engines/json.ts'
import type { Item } from '#protocol/events.ts'

/** In characters, the ellipsis too. */
const longestTitle = 60
const segmenter = new Intl.Segmenter()
/** What is cut to that; a message may be a book. */
const enoughForTitle = 20 * longestTitle

/** What is written or said in it, a line for each part, names of files too; no pictures, no sound, no thoughts. */
export function wordsOf(item: object): string {
  if (!('content' in item) || !Array.isArray(item.content)) return ''
  return item.content
    .flatMap((part: unknown) => (isRecord(part) ? [part.x_name, part.text ?? part.transcript] : []))
    .filter((words) => typeof words === 'string' && words !== '')
    .join('\n')
}

/** The first words that the person said, cut at a word; empty where there are none yet. */
export function titleOf(items: readonly Item[]): string {
  for (const item of items) {
    if (!('role' in item) || item.role !== 'user') continue
    // A file that came with a question is not what it is about.
    const own = wordsOf({ content: item.content.filter((part) => !('x_name' in part)) })
    const words = (own || wordsOf(item))
      .trimStart()
      .slice(0, enoughForTitle)
      .replaceAll(/\s+/g, ' ')
      .trimEnd()
    if (words !== '') return shorten(words)
  }
  return ''
}

function shorten(words: string): string {
  const letters: string[] = []
  for (const { segment } of segmenter.segment(words)) {
    letters.push(segment)
    if (letters.length > longestTitle) break
  }
  if (letters.length <= longestTitle) return words
  const room = letters.slice(0, longestTitle - 1).join('')
  const cut = letters[longestTitle - 1] === ' ' ? -1 : room.lastIndexOf(' ')
  return `${cut > 0 ? room.slice(0, cut) : room}…`
}
