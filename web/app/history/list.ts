/** The list of one's conversations: in order, kept up by events, loaded page by page, grouped by day for people. */
import type { ConversationList, ConversationSummary } from '@sotto/gateway/protocol/conversations.ts'
import type { ServerEvent } from '@sotto/gateway/protocol/events.ts'

export type ListEvent = Pick<Extract<ServerEvent, { type: 'x.conversations' }>, 'type'> &
  ({ readonly changed: ConversationSummary } | { readonly removed: string })

export interface Group {
  readonly kind: 'pinned' | 'today' | 'yesterday' | 'week' | 'month' | 'older'
  /** Of `older`: the first day of its month. */
  readonly month?: Date
  readonly conversations: readonly ConversationSummary[]
}

/** The list after an event. What belongs further down than was loaded so far comes when it is loaded. */
export function follow(list: ConversationList, event: ListEvent): ConversationList {
  // Of its branches the list has the one that was used last.
  const others = list.conversations.filter((one) =>
    'removed' in event ? one.id !== event.removed : one.family !== event.changed.family,
  )
  if ('removed' in event) return { ...list, conversations: others }
  const last = others.at(-1)
  const beyond = list.next !== null && last !== undefined && inOrder(last, event.changed) < 0
  return { ...list, conversations: beyond ? others : [...others, event.changed].toSorted(inOrder) }
}

/** The list with the page that follows it. */
export function append(list: ConversationList, page: ConversationList): ConversationList {
  const known = new Set(list.conversations.map(({ id }) => id))
  const more = page.conversations.filter(({ id }) => !known.has(id))
  return { conversations: [...list.conversations, ...more].toSorted(inOrder), next: page.next }
}

/** The list after its first page was loaded again: what follows that page stays. */
export function renew(list: ConversationList, first: ConversationList): ConversationList {
  const last = first.conversations.at(-1)
  if (first.next === null || !last) return first
  const listed = new Set(first.conversations.map(({ id }) => id))
  const rest = list.conversations.filter((one) => !listed.has(one.id) && inOrder(last, one) < 0)
  if (rest.length === 0) return first
  return { conversations: [...first.conversations, ...rest], next: list.next }
}

/** @param now its calendar days are those of the browser's time zone */
export function groupByDay(conversations: readonly ConversationSummary[], now: Date): Group[] {
  const groups = Map.groupBy(conversations, (one) => placeOf(one, now))
  return [...groups].map(([place, grouped]) => ({
    ...(typeof place === 'number' ? { kind: 'older' as const, month: new Date(place) } : { kind: place }),
    conversations: grouped,
  }))
}

/** The pinned first, then the newest. */
function inOrder(one: ConversationSummary, other: ConversationSummary): number {
  if (one.pinned !== other.pinned) return one.pinned ? -1 : 1
  return other.updatedAt.localeCompare(one.updatedAt)
}

/** The name of its group, or of an older one the time at which its month began. */
function placeOf(
  { pinned, updatedAt }: ConversationSummary,
  now: Date,
): Exclude<Group['kind'], 'older'> | number {
  if (pinned) return 'pinned'
  const at = new Date(updatedAt)
  const days = daysBetween(at, now)
  if (days <= 0) return 'today'
  if (days === 1) return 'yesterday'
  if (days <= 7) return 'week'
  if (days <= 30) return 'month'
  return new Date(at.getFullYear(), at.getMonth()).getTime()
}

/** Calendar days; a day may have 23 or 25 hours. */
function daysBetween(from: Date, to: Date): number {
  const midnight = (date: Date): number => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate())
  return (midnight(to) - midnight(from)) / 86_400_000
}
