/** The conversation of a session: its items in order, and what a model is told of them. */
import type { ChatMessage } from '#engines/engine.ts'
import type { Content, Item } from '#protocol/events.ts'
import { newId } from './id.ts'

/** Kept for a person, or for the time of a session alone. */
export interface Conversation {
  readonly id: string
  /** In order. */
  readonly items: readonly Item[]
  /** Puts an item in the place of the one with its id, or after another: null for the first place, undefined for the last. */
  put(item: Item, previousItemId?: string | null): void
  /** Does nothing where there is no such item. */
  remove(id: string): void
}

/** One that is forgotten with its session. */
export function createConversation(): Conversation {
  const items: Item[] = []
  const place = (id: string): number => items.findIndex((item) => item.id === id)
  return {
    id: newId('conv'),
    items,
    put(item, previousItemId) {
      const at = place(item.id)
      if (at !== -1) items[at] = item
      else if (previousItemId === undefined) items.push(item)
      else items.splice(previousItemId === null ? 0 : place(previousItemId) + 1, 0, item)
    },
    remove(id) {
      const at = place(id)
      if (at !== -1) items.splice(at, 1)
    },
  }
}

export function itemBefore({ items }: Conversation, id: string): string | null {
  return items[items.findIndex((item) => item.id === id) - 1]?.id ?? null
}

/** As clients are told of it: they need not be sent their own pictures, twice, of megabytes each. */
export function withoutPictures(item: Item): Item {
  if (item.type !== 'message' || !item.content.some(({ type }) => type === 'input_image')) return item
  return {
    ...item,
    content: item.content.map((part) => (part.type === 'input_image' ? { type: part.type } : part)),
  }
}

/** For the model: instructions first, empty messages left out, pictures as it takes them. */
export function messagesOf(items: readonly Item[], instructions: string): ChatMessage[] {
  const names = new Map(
    items.flatMap((item) => (item.type === 'function_call' ? [[item.call_id, item.name]] : [])),
  )
  const said = items.flatMap((item): ChatMessage[] => {
    if (item.type === 'function_call')
      return [{ role: 'assistant', content: '', calls: [{ name: item.name, arguments: item.arguments }] }]
    if (item.type === 'function_call_output')
      return [{ role: 'tool', content: item.output, tool: names.get(item.call_id) ?? item.call_id }]
    const content = textOf(item).trim()
    const images = item.content.flatMap((part) =>
      part.type === 'input_image' && part.image_url !== undefined
        ? [part.image_url.slice(part.image_url.indexOf(',') + 1)]
        : [],
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
