/** Answers of a backend that speaks OpenAI's API alone: llama.cpp, vLLM and their kin. */
import { z } from 'zod'
import { Failure } from '../failure.ts'
import type { Backend } from './backend.ts'
import { requestChat, toolOf } from './chat-request.ts'
import type { ChatMessage, ChatPiece, ChatWish, ToolCall } from './engine.ts'
import { refusal } from './forward.ts'
import { parseJson } from './json.ts'
import { lines } from './lines.ts'

/** Thoughts are `reasoning_content` with DeepSeek, llama.cpp and vLLM, `reasoning` with others. */
const chunk = z.object({
  choices: z
    .array(
      z.object({
        delta: z
          .object({
            content: z.string().nullish(),
            reasoning_content: z.string().nullish(),
            reasoning: z.string().nullish(),
            tool_calls: z
              .array(
                z.object({
                  index: z.int().default(0),
                  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }),
                }),
              )
              .nullish(),
          })
          .nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .default([]),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish(),
  error: z.unknown().optional(),
})

/** Throws a `Failure`; ends the request when `signal` is aborted. */
export async function* askOpenAi(
  { upstream, base, wording }: Pick<Backend, 'upstream' | 'base' | 'wording'>,
  wish: ChatWish,
  signal: AbortSignal,
): AsyncGenerator<ChatPiece> {
  const body = {
    model: wish.model,
    messages: messagesOf(wish.messages),
    stream: true,
    stream_options: { include_usage: true },
    ...(wish.tools?.length && { tools: wish.tools.map(toolOf) }),
    ...(wish.output !== undefined && { max_tokens: wish.output }),
  }
  const path = `${base}/v1/chat/completions`
  const read = (answer: AsyncIterable<Uint8Array>) => contents(answer, wish)
  yield* requestChat({ upstream, path, body, engine: 'The engine', wording, read }, signal)
}

async function* contents(body: AsyncIterable<Uint8Array>, { onUsage }: ChatWish): AsyncGenerator<ChatPiece> {
  /** They come in pieces; one is whole when the answer ends. */
  const calls = new Map<number, ToolCall>()
  let finished: string | undefined
  for await (const line of lines(body)) {
    if (!line.startsWith('data:')) continue
    const data = line.slice(5).trim()
    if (data === '[DONE]') break
    const read = chunk.safeParse(parseJson(data))
    if (!read.success)
      throw new Failure('bad_upstream', 'The engine sent something that is not OpenAI’s protocol.')
    if (read.data.error != null) throw refusal(500, data)
    const { choices, usage } = read.data
    for (const { delta, finish_reason: reason } of choices) {
      const reasoning = delta?.reasoning_content ?? delta?.reasoning
      if (reasoning) yield { reasoning }
      if (delta?.content) yield delta.content
      for (const { index, function: part } of delta?.tool_calls ?? []) {
        const before = calls.get(index) ?? { name: '', arguments: '' }
        calls.set(index, {
          name: before.name + (part.name ?? ''),
          arguments: before.arguments + (part.arguments ?? ''),
        })
      }
      finished ??= reason ?? undefined
    }
    if (usage)
      onUsage?.({
        input: usage.prompt_tokens,
        output: usage.completion_tokens,
        cut: finished === 'length',
      })
  }
  // Whoever asked says who broke off.
  if (finished === undefined) throw new Error('the answer has no end')
  yield* calls.values()
}

/** Results are matched to their calls by ids, which nobody else needs. */
function messagesOf(messages: readonly ChatMessage[]): object[] {
  let count = 0
  const open: { readonly id: string; readonly name: string }[] = []
  return messages.map(({ role, content, images = [], calls = [], tool }) => {
    if (role === 'tool') {
      const at = open.findIndex(({ name }) => name === tool)
      const [call] = at === -1 ? [] : open.splice(at, 1)
      return { role, content, tool_call_id: call?.id ?? 'call_0' }
    }
    const asked = calls.map(({ name, arguments: given }) => {
      count += 1
      const id = `call_${count}`
      open.push({ id, name })
      return { id, type: 'function', function: { name, arguments: given } }
    })
    if (asked.length > 0) return { role, content, tool_calls: asked }
    if (images.length === 0) return { role, content }
    return {
      role,
      content: [
        ...(content === '' ? [] : [{ type: 'text', text: content }]),
        ...images.map((image) => ({ type: 'image_url', image_url: { url: dataUrl(image) } })),
      ],
    }
  })
}

/** By which a picture’s base64 begins. */
const beginnings = { '/9j/': 'jpeg', R0lG: 'gif', UklG: 'webp' }

function dataUrl(image: string): string {
  const type = Object.entries(beginnings).find(([begin]) => image.startsWith(begin))?.[1] ?? 'png'
  return `data:image/${type};base64,${image}`
}
