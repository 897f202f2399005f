/** How each dialect says what an answer took, and that it is over. */
import type { Usage } from '#admission/admission.ts'
import { isRecord } from '#engines/json.ts'
import type { Grammar } from '#engines/tap.ts'

type Body = Readonly<Record<string, unknown>>

/** More than any model reads or writes at once: what others say of their counts spends budgets. */
const mostTokens = 100_000_000
const count = (value: unknown): number =>
  typeof value === 'number' && value >= 0 ? Math.min(Math.floor(value), mostTokens) : 0

/** Ollama leaves out a count that is nought. */
export const nativeGrammar: Grammar = {
  marks: ['"done":true', '"error":'],
  usage: (body) =>
    body.done === true || 'prompt_eval_count' in body
      ? { input: count(body.prompt_eval_count), output: count(body.eval_count) }
      : undefined,
  ends: (event) => typeof event === 'object' && (event.done === true || 'error' in event),
  error: (message) => `${JSON.stringify({ error: message })}\n`,
}

const openAiError = (message: string): string =>
  `data: ${JSON.stringify({ error: { message, type: 'api_error', param: null, code: null } })}\n\n`

function openAiUsage({ usage }: Body): Usage | undefined {
  if (!isRecord(usage)) return undefined
  return { input: count(usage.prompt_tokens), output: count(usage.completion_tokens) }
}

/** @param wantsUsage whether the client asked for the chunk that has the usage; it is always asked for upstream */
export function openAiGrammar(wantsUsage: boolean): Grammar {
  return {
    marks: ['"choices":[]', '"choices": []', '[DONE]', '"error"'],
    // Completions carry noughts on each chunk of a stream: only the one without choices has the sum.
    usage: (body, whole) =>
      !whole && Array.isArray(body.choices) && body.choices.length > 0 ? undefined : openAiUsage(body),
    ends: (event) => event === '[DONE]' || (typeof event === 'object' && 'error' in event),
    hides: ({ choices, usage }) =>
      !wantsUsage && Array.isArray(choices) && choices.length === 0 && isRecord(usage),
    error: openAiError,
  }
}

function namedUsage({ usage }: Body): Usage | undefined {
  if (!isRecord(usage)) return undefined
  return { input: count(usage.input_tokens), output: count(usage.output_tokens) }
}

/** True counts stand in the last event alone. */
export const responsesGrammar: Grammar = {
  marks: [
    '"response.completed"',
    '"response.incomplete"',
    '"response.failed"',
    'event: error',
    '"type":"error"',
  ],
  usage: ({ response, ...body }) => namedUsage(isRecord(response) ? response : body),
  ends: (event) =>
    typeof event === 'object' &&
    typeof event.type === 'string' &&
    /^(?:response\.(?:completed|incomplete|failed)|error)$/.test(event.type),
  error: (message) =>
    `event: error\ndata: ${JSON.stringify({ type: 'error', code: 'server_error', message, param: null, sequence_number: 0 })}\n\n`,
}

/** `message_start` holds an estimate; `message_delta` the counts. */
export const anthropicGrammar: Grammar = {
  marks: ['"message_delta"', '"message_stop"', 'event: error', '"type":"error"'],
  usage: namedUsage,
  ends: (event) => typeof event === 'object' && (event.type === 'message_stop' || event.type === 'error'),
  error: (message) =>
    `event: error\ndata: ${JSON.stringify({ type: 'error', error: { type: 'api_error', message } })}\n\n`,
}
