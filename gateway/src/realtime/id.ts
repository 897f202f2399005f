import { randomBytes } from 'node:crypto'

/** Ids in the form that OpenAI's clients know. */
export function newId(prefix: 'sess' | 'event' | 'item' | 'resp' | 'conv'): string {
  return `${prefix}_${randomBytes(12).toString('base64url')}`
}
