/** The conversation of a session: its items in order, and what a model is told of them. */
import { createItems } from '#conversations/items.ts'
import type { ChatMessage } from '#engines/engine.ts'
import type { Content, EngineState, Item } from '#protocol/events.ts'
import { newId } from './id.ts'

/** Kept for a person, or for the time of a session alone. */
export interface Conversation {
  readonly id: string
  /** In order; it changes as they do. */
  readonly items: readonly Item[]
  get(id: string): Item | undefined
  /** The id of the one before it; null for the first. */
  before(id: string): string | null
  /** Puts an item in the place of the one with its id, or after another: null for the first place, undefined for the last. */
  put(item: Item, previousItemId?: string | null): void
  /** Does nothing where there is no such item. */
  remove(id: string): void
}

/** One that is forgotten with its session. */
export function createConversation(): Conversation {
  const { all, ...items } = createItems()
  return { id: newId('conv'), items: all, ...items }
}

/** Whether a model may be shown pictures; so it may where nobody tells. */
export function sees({ details }: EngineState, model: string | null): boolean {
  return details?.[model ?? '']?.vision !== false
}

/**
 * For the model: instructions first, empty messages left out, thoughts never told again.
 *
 * @param shown whether it is shown pictures: one that sees none refuses all of a conversation that has some
 */
export function messagesOf(items: readonly Item[], instructions: string, shown = true): ChatMessage[] {
  const names = new Map(
    items.flatMap((item) => (item.type === 'function_call' ? [[item.call_id, item.name]] : [])),
  )
  const said = items.flatMap((item): ChatMessage[] => {
    if (item.type === 'function_call')
      return [{ role: 'assistant', content: '', calls: [{ name: item.name, arguments: item.arguments }] }]
    if (item.type === 'function_call_output')
      return [{ role: 'tool', content: item.output, tool: names.get(item.call_id) ?? item.call_id }]
    const content = item.content
      .map((part) => (part.type === 'input_image' && !shown ? '\n[picture]\n' : toldOf(part)))
      .join('')
      .trim()
    const images = item.content.flatMap((part) =>
      shown && part.type === 'input_image' && part.image_url !== undefined
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

/** A file's text begins with its name. */
function toldOf(content: Content): string {
  const words = wordsOf(content)
  if (!('x_name' in content) || content.x_name === undefined) return words
  return `\n\n# ${content.x_name.replaceAll(/\s+/g, ' ')}\n${words}\n\n`
}

function wordsOf(content: Content): string {
  if ('text' in content) return content.text
  return 'transcript' in content ? (content.transcript ?? '') : ''
}
