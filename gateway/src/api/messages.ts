/** The `messages` of a chat request, as far as the demo reads them. */
import { z } from 'zod'
import type { ChatMessage } from '#engines/engine.ts'
import { Failure } from '../failure.ts'

const messages = z.array(
  z.looseObject({
    role: z.enum(['system', 'user', 'assistant']).catch('user'),
    // OpenAI's clients may send a list of parts.
    content: z
      .union([
        z.string(),
        z
          .array(z.looseObject({ text: z.string().optional() }))
          .transform((parts) => parts.map(({ text = '' }) => text).join('')),
      ])
      .catch(''),
  }),
)

/** Throws a `Failure` that names the field. */
export function readMessages(value: unknown): ChatMessage[] {
  const read = messages.safeParse(value)
  if (!read.success) throw new Failure('invalid', 'messages: send a list of {role, content}.')
  return read.data.map(({ role, content }) => ({ role, content }))
}
