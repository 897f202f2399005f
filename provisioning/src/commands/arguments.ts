/** What people write for a time or a list, read. */
import ms, { type StringValue } from 'ms'
import { Problem } from '../problem.ts'

/** `now`, a date, or a time from now. */
export function readTime(text: string): Date {
  if (text === 'now') return new Date()
  const at = isDuration(text) ? new Date(Date.now() + ms(text)) : new Date(text)
  if (!Number.isNaN(at.getTime())) return at
  throw new Problem(
    'time',
    `“${text}” is no time.`,
    'Give a date such as 2026-12-24T18:00, or a time from now such as 30d or 12h.',
  )
}

/** A date, or a time ago. */
export function readSince(text: string): Date {
  const at = isDuration(text) ? new Date(Date.now() - ms(text)) : new Date(text)
  if (!Number.isNaN(at.getTime())) return at
  throw new Problem(
    'time',
    `“${text}” is no time.`,
    'Give a date such as 2026-11-20, or a time ago such as 24h or 7d.',
  )
}

/** Milliseconds. */
export function readDuration(text: string): number {
  if (isDuration(text)) return ms(text)
  throw new Problem('duration', `“${text}” is no duration.`, 'For example: 12h, 7d or 0s.')
}

/** Names with commas between them; undefined for `all`. */
export function readList(text: string): string[] | null {
  if (text === 'all') return null
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

export function isDuration(text: string): text is StringValue {
  // Longer texts `ms` refuses in words of its own.
  return /^\d{1,15}(\.\d{1,15})? ?(ms|s|m|h|d|w|y)$/.test(text)
}
