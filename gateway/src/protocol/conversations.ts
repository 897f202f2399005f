/** What the gateway keeps of conversations, as the web app and others read it. One's own, and nobody else's. */
import type { Item } from './events.ts'

export interface ConversationSummary {
  readonly id: string
  /** What a person named it, else its first words; empty while there are none. */
  readonly title: string
  /** The model that was chosen; null for the first there is. */
  readonly model: string | null
  /** ISO 8601 */
  readonly createdAt: string
  /** When something was said last. */
  readonly updatedAt: string
}

/** `GET /sotto/conversations`: the newest first. */
export interface ConversationList {
  readonly conversations: readonly ConversationSummary[]
  /** Send it as `before` for those that follow; null where there are none. */
  readonly next: string | null
}

/** `GET /sotto/conversations?search=words` */
export interface ConversationsFound {
  readonly conversations: readonly ConversationFound[]
}

export interface ConversationFound extends ConversationSummary {
  /** Where the words stand, in pieces: text of people, never markup. */
  readonly snippet: readonly SnippetPart[]
}

export interface SnippetPart {
  readonly text: string
  /** Whether it is what was searched for. */
  readonly marked: boolean
}

/** `GET /sotto/conversations/:id`; what is exported as JSON, too. */
export interface WholeConversation extends ConversationSummary {
  readonly instructions: string
  /** In order. */
  readonly items: readonly Item[]
}
