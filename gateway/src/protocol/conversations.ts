/** What the gateway keeps of conversations, as the web app and others read it. One's own, and nobody else's. */
import type { Item } from './events.ts'

export interface ConversationSummary {
  readonly id: string
  /** The same for all branches of one: of them a list shows that which was used last. */
  readonly family: string
  /** What a person named it, else its first words; empty while there are none. */
  readonly title: string
  readonly pinned: boolean
  /** The model that was chosen; null for the first there is. */
  readonly model: string | null
  /** ISO 8601 */
  readonly createdAt: string
  /** When something was said last, or, of branches, one was gone back to. */
  readonly updatedAt: string
}

/** `GET /sotto/conversations`: the pinned first, then the newest. Of the branches of one, the one that was used last. */
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

/** `GET /sotto/conversations/:id/items?before=ITEM&limit=100`: those right before that item, else the last; in order. */
export interface ItemPage {
  readonly items: readonly Item[]
  /** Whether there are more before them. */
  readonly earlier: boolean
}

/**
 * `POST /sotto/conversations/:id/branches {before: ITEM}` → 201 `ConversationSummary`: another conversation, which has
 * the same items as far as that one, and goes on from there. `GET /sotto/conversations/:id/branches` tells where those
 * of one origin part.
 */
export interface BranchList {
  readonly points: readonly BranchPoint[]
}

export interface BranchPoint {
  /** The first item of the conversation asked for that others have otherwise. */
  readonly item: string
  /** The conversation to open for each version, in the order in which they were begun. */
  readonly versions: readonly string[]
  /** Which of them the conversation asked for has, from 0. */
  readonly current: number
}
