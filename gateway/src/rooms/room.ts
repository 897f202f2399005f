/** What a room may hold, and what is refused. */
import { Failure } from '../failure.ts'

/** Who asks: a person of this gateway. */
export interface Who {
  readonly id: string
  readonly name: string
  /** Whether it may say who of this gateway is in a friend's room. */
  readonly admin: boolean
}

/** The people of this gateway, as the registry has them. */
export interface KnownPerson {
  readonly id: string
  readonly name: string
  readonly tenantId: string
}

export const limits = {
  /** Characters of a room's name. */
  name: 80,
  /** Bytes of a message as JSON: with its envelope it must fit into what the relay takes, 8 KiB. */
  textBytes: 6_144,
  /** Characters of what the assistant is told beforehand. */
  instructions: 2_000,
  /** People of one gateway in one room, and characters of their names: all of them travel in one message. */
  people: 25,
  personName: 63,
  /** Gateways in one room, besides its home. */
  gateways: 16,
  /** Rooms that one person made. */
  rooms: 50,
  /** Of one friend's that wait for an answer: invitations to us, and its people's wishes to join. */
  waiting: 20,
  /** Rooms that are announced, and friends that are listed. */
  shown: 100,
  /** Messages of a room; the oldest go. */
  messages: 50_000,
} as const

/** One line, and nothing in it that turns the direction of what follows. */
export const oneLine = /^[^\p{Cc}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069]+$/u

/** A text as it is kept. Throws a `Failure` for one that is empty or too long. */
export function checkText(text: string): string {
  const kept = text.toWellFormed().trimEnd()
  if (kept.trim() === '') throw new Failure('invalid', 'text: is empty.')
  if (!fits(kept))
    throw new Failure('too_large', 'A message takes 6 KiB, about 6,000 letters.', undefined, {
      detail: 'message_too_large',
      remedy: 'Send it in parts.',
    })
  return kept
}

/** Whether a message can hold it. */
export function fits(text: string): boolean {
  return Buffer.byteLength(JSON.stringify(text)) <= limits.textBytes
}

/** The beginning of a text that a message can hold, with an ellipsis where it is not all. */
export function shorten(text: string): string {
  if (fits(text)) return text
  let [least, most] = [0, text.length]
  while (least < most) {
    const middle = Math.ceil((least + most) / 2)
    if (fits(`${text.slice(0, middle)}…`)) least = middle
    else most = middle - 1
  }
  // Never half of a character.
  return `${text.slice(0, least).replace(/[\uD800-\uDBFF]$/, '')}…`
}

export function noSuchRoom(): Failure {
  return new Failure('not_found', 'There is no such room, or you are not in it.', undefined, {
    detail: 'room_missing',
  })
}

export function noSuchMessage(): Failure {
  return new Failure('not_found', 'There is no such message in this room.', undefined, {
    detail: 'message_missing',
  })
}

export function notYours(message: string): Failure {
  return new Failure('forbidden', message, undefined, { detail: 'room_forbidden' })
}

export function tooMany(message: string, remedy: string): Failure {
  return new Failure('conflict', message, undefined, { detail: 'room_full', remedy })
}
