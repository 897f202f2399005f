/** What the admin's requests name: things in their paths, and times. */
import { z } from 'zod'
import type { Call } from '../route.ts'

/** The registry says what a name may be. */
export const name = z.string().max(200)
export const time = z.iso
  .datetime({ offset: true, error: 'is no date such as 2026-12-24T18:00:00Z' })
  .transform((text) => new Date(text))

export function named({ c }: Call): string {
  return c.req.param('name') ?? ''
}

/** Says in the audit what was made, at the place where it is from now on. */
export function made({ record }: Call, place: string, thing: string | number): void {
  record.made = `${place}/${encodeURIComponent(thing)}`
}
