/** How far back a report goes, as `?days=` and `?since=` say it. Days are UTC’s. */
import { z } from 'zod'
import { Failure } from '../../failure.ts'

export const dayMs = 86_400_000

const days = z.coerce.number().int().min(1).max(3_650)
const date = z.iso.datetime({ offset: true }).or(z.iso.date())

/** `2026-11-21` */
export function today(): string {
  return new Date().toISOString().slice(0, 10)
}

/** Throws a `Failure`. */
export function readDays(text: string | undefined, without: number): number {
  if (text === undefined) return without
  const read = days.safeParse(text)
  if (!read.success) throw new Failure('invalid', 'days: send a whole number from 1 to 3650.')
  return read.data
}

/** Milliseconds since the epoch. Throws a `Failure`. */
export function readSince(text: string): number {
  const read = date.safeParse(text)
  if (!read.success) throw new Failure('invalid', 'since: send a date such as 2026-11-21T12:00:00Z.')
  return Date.parse(read.data)
}
