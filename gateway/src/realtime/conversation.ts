/** The conversation of a session: its items in order, and what a model is told of them. Pure. */
import type { ChatMessage } from '#engines/engine.ts'
import type { Content, Item } from '#protocol/events.ts'

export interface Conversation {
  readonly items: readonly Item[]
  get(id: string): Item | undefined
  /**
   * Puts an item behind another; undefined: at the end, null: first. Returns the id of the one before it.
   * The caller sees to it that the other is there.
   */
  add(item: Item, previousId?: string | null): string | null
  /** Puts a newer state of an item in its place. */
  replace(item: Item): void
  remove(id: string): void
  before(id: string): string | null
}

export function createConversation(first: readonly Item[] = []): Conversation {
  const items: Item[] = [...first]
  const place = (id: string): number => items.findIndex((item) => item.id === id)
  return {
    items,
    get: (id) => items.find((item) => item.id === id),
    add(item, previousId) {
      const at = previousId === undefined ? items.length : previousId === null ? 0 : place(previousId) + 1
      items.splice(at, 0, item)
      return items[at - 1]?.id ?? null
    },
    replace(item) {
      const at = place(item.id)
      if (at !== -1) items[at] = item
    },
    remove(id) {
      const at = place(id)
      if (at !== -1) items.splice(at, 1)
    },
    before: (id) => items[place(id) - 1]?.id ?? null,
  }
}

/** For the model: instructions first, empty messages left out, pictures as it takes them. */
export function messagesOf(items: readonly Item[], instructions: string): ChatMessage[] {
  const names = new Map(items.flatMap((item) => (item.type === 'function_call' ? [[item.call_id, item.name]] : [])))
  const said = items.flatMap((item): ChatMessage[] => {
    if (item.type === 'function_call')
      return [{ role: 'assistant', content: '', calls: [{ name: item.name, arguments: item.arguments }] }]
    if (item.type === 'function_call_output')
      return [{ role: 'tool', content: item.output, tool: names.get(item.call_id) ?? item.call_id }]
    const content = textOf(item).trim()
    const images = item.content.flatMap((part) =>
      part.type === 'input_image' ? [part.image_url.slice(part.image_url.indexOf(',') + 1)] : [],
    )
    if (content === '' && images.length === 0) return []
    return [{ role: item.role, content, ...(images.length > 0 && { images }) }]
  })
  return instructions ? [{ role: 'system', content: instructions }, ...said] : said
}

/** The words of a message; none for speech that is not transcribed. */
export function textOf(item: Item): string {
  return item.type === 'message' ? item.content.map(wordsOf).join('') : ''
}

function wordsOf(content: Content): string {
  if ('text' in content) return content.text
  return 'transcript' in content ? (content.transcript ?? '') : ''
}
