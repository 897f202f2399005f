/** What people write for a person, a time or a list, read. */
import ms, { type StringValue } from 'ms'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { ensurePerson, firstPerson, type Person } from '#registry/person.ts'

/** The person of that name, made where there is none; the admin where none is named. */
export async function personOf(database: Database, name: string | undefined): Promise<Person> {
  return name === undefined ? firstPerson(database) : ensurePerson(database, name)
}

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
  return /^\d+(\.\d+)? ?(ms|s|m|h|d|w|y)$/.test(text)
}
