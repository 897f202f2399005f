/** What the load is told, and what it tells. */
import { z } from 'zod'

export const wish = z.object({
  origin: z.string(),
  /** A file. */
  ca: z.string(),
  /** Of a key that lends, and asks what its person's machines lend. */
  lendKey: z.string(),
  /** `/users/PERSON/NAME` of the lender that is always there. */
  lent: z.string(),
  /** An Ollama, for lenders that come and go. */
  ollama: z.string(),
})

/** A line a second: what was answered since the last, by its kind, and what went wrong. */
export const told = z.object({
  answered: z.record(z.string(), z.number()),
  errors: z.array(z.string()),
})

export type Wish = z.infer<typeof wish>
export type Told = z.infer<typeof told>
