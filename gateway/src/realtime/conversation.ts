/** The conversation of a session: its items in order, and what a model is told of them. Pure. */
import type { ChatMessage } from '#engines/engine.ts'
import type { Content, Item } from '#protocol/events.ts'

export interface Conversation {
  readonly last: Item | undefined
  has(id: string): boolean
  /** Puts an item at the end; returns the id of the one before it. */
  add(item: Item): string | null
  /** Puts a newer state of an item in its place. */
  replace(item: Item): void
  /** For the model: instructions first, empty messages left out. */
  messages(instructions: string): ChatMessage[]
}

export function createConversation(): Conversation {
  const items: Item[] = []
  return {
    get last() {
      return items.at(-1)
    },
    has: (id) => items.some((item) => item.id === id),
    add(item) {
      const before = items.at(-1)?.id ?? null
      items.push(item)
      return before
    },
    replace(item) {
      const at = items.findIndex(({ id }) => id === item.id)
      if (at !== -1) items[at] = item
    },
    messages(instructions) {
      const said = items
        .map(({ role, content }) => ({ role, content: content.map(textOf).join('').trim() }))
        .filter(({ content }) => content !== '')
      return instructions ? [{ role: 'system', content: instructions }, ...said] : said
    },
  }
}

/** The words of a piece of content; none for speech that is not transcribed. */
export function textOf(content: Content): string {
  return content.type === 'input_audio' ? (content.transcript ?? '') : content.text
}
