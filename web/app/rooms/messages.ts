/** The messages of a room as its page has them: in the order that all have, what waits for its place last. */
import type { RoomMessage } from '@sotto/gateway/protocol/rooms.ts'

/** What is known with what came: of two states of one message the newer one stays. */
export function merge(known: readonly RoomMessage[], coming: readonly RoomMessage[]): readonly RoomMessage[] {
  const all = new Map(known.map((message) => [message.id, message]))
  for (const message of coming) {
    const before = all.get(message.id)
    if (!before || before.revision <= message.revision) all.set(message.id, message)
  }
  return [...all.values()].toSorted(inOrder)
}

function inOrder(one: RoomMessage, other: RoomMessage): number {
  if (one.sequence !== null && other.sequence !== null) return one.sequence - other.sequence
  if (one.sequence !== other.sequence) return one.sequence === null ? 1 : -1
  return one.at.localeCompare(other.at)
}

/** Whether a message needs no name and time of its own: it is the same one’s, moments after. */
export function continues(before: RoomMessage | undefined, message: RoomMessage): boolean {
  if (!before || before.model !== message.model || message.reply !== null) return false
  const { author: one } = before
  const { author: other } = message
  return (
    one.name === other.name &&
    one.gateway === other.gateway &&
    one.via === other.via &&
    Date.parse(message.at) - Date.parse(before.at) < togetherMs
  )
}

const togetherMs = 5 * 60_000

/** The word being written after an `@`, where the cursor is in one: what begins with it may be chosen. */
export function mentionAt(
  text: string,
  cursor: number,
): { readonly from: number; readonly begun: string } | undefined {
  const [, begun] = /(?:^|[\s(])@([\p{L}\p{N}._:/@-]*)$/u.exec(text.slice(0, cursor)) ?? []
  return begun === undefined ? undefined : { from: cursor - begun.length, begun }
}

/** A text in one line: what is said is Markdown, and its marks are noise there. */
export function inOneLine(text: string): string {
  return text
    .replaceAll(/[*_`#>|]+/g, '')
    .replaceAll(/\s+/g, ' ')
    .trim()
}

/** A model as people call it. */
export function modelName(model: string): string {
  return model.replace(/:latest(?=@|$)/, '')
}

/** The name of a day for messages of the chosen time zone: the same for all of one day. */
export function dayOf(iso: string): string {
  return new Date(iso).toDateString()
}
