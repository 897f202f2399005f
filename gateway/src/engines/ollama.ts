/** The voice turn's answers, from whichever backend of the pool has the model. */
import { z } from 'zod'
import { Failure } from '../failure.ts'
import type { Backend } from './backend.ts'
import { requestChat, toolOf } from './chat-request.ts'
import type { ChatEngine, ChatMessage, ChatPiece, ChatWish } from './engine.ts'
import { brokenOff, refusal } from './forward.ts'
import { parseJson } from './json.ts'
import { lines } from './lines.ts'
import { missingModel } from './no-model.ts'
import { askOpenAi } from './openai-chat.ts'
import type { ModelPool } from './pool.ts'

const piece = z.object({
  error: z.string().optional(),
  message: z
    .object({
      content: z.string().optional(),
      thinking: z.string().optional(),
      tool_calls: z
        .array(
          z.object({
            function: z.object({ name: z.string(), arguments: z.record(z.string(), z.unknown()) }),
          }),
        )
        .optional(),
    })
    .optional(),
  done: z.boolean().optional(),
  done_reason: z.string().optional(),
  prompt_eval_count: z.number().optional(),
  eval_count: z.number().optional(),
})

const json = { 'content-type': 'application/json' }

export function createOllamaChat(pool: ModelPool): ChatEngine {
  /** A load takes minutes: sessions that open meanwhile share it, and not one connection each. */
  const loading = new Map<string, Promise<void>>()
  return {
    kind: 'ollama',
    chat: (wish, signal) => chat(pool, wish, signal),
    async warm(model) {
      if (model === null) return
      const begun = loading.get(model) ?? load(pool, model).finally(() => loading.delete(model))
      loading.set(model, begun)
      await begun
    },
  }
}

async function load(pool: ModelPool, model: string): Promise<void> {
  const name = pool.resolve(model)
  if (name === undefined) return
  const signal = AbortSignal.timeout(60_000)
  const place = await pool
    .place({ model: name, kind: 'ollama', tenant: '', caller: '', signal })
    .catch(() => undefined)
  if (!place) return
  // Loading takes no turn: who waits for the model waits for this, too.
  place.leave()
  // A friend's machine loads nothing before it is asked something.
  if (place.backend.friend !== undefined) return
  const { upstream, base } = place.backend
  await upstream
    .request({
      method: 'POST',
      path: `${base}/api/generate`,
      headers: json,
      body: JSON.stringify({ model: name }),
    })
    .then((answer) => answer.body.dump())
    // The first answer then waits for the model: slower, not wrong.
    .catch(() => {})
}

async function* chat(pool: ModelPool, wish: ChatWish, signal: AbortSignal): AsyncGenerator<ChatPiece> {
  const model = pool.resolve(wish.model ?? '')
  if (model === undefined) throw missingModel(pool, wish.model ?? '')
  const { tenant = '', caller = '' } = wish
  const place = await pool.place({ model, tenant, caller, signal })
  const { kind, friend } = place.backend
  // A friend's gateway speaks OpenAI's API for all its engines.
  const ask = kind === 'openai' || friend !== undefined ? askOpenAi : askOllama
  try {
    yield* ask(place.backend, { ...wish, model }, signal)
  } finally {
    place.leave()
  }
}

async function* askOllama(backend: Backend, wish: ChatWish, signal: AbortSignal): AsyncGenerator<ChatPiece> {
  const { upstream, base } = backend
  const model = backend.models.find(({ name }) => name === wish.model)
  const think = model && wish.think !== undefined ? backend.thoughtOf(model, wish.think) : undefined
  const options = wish.output === undefined ? {} : { options: { num_predict: wish.output } }
  const body = {
    model: wish.model,
    messages: wish.messages.map(asOllama),
    stream: true,
    ...(think !== undefined && { think }),
    ...(wish.tools?.length && { tools: wish.tools.map(toolOf) }),
    ...options,
  }
  const read = (answer: AsyncIterable<Uint8Array>) => contents(answer, wish)
  yield* requestChat({ upstream, path: `${base}/api/chat`, body, engine: 'Ollama', read }, signal)
}

/** Source: `api/types.go` of Ollama, `Message`. */
function asOllama({ role, content, images, calls, tool }: ChatMessage): object {
  return {
    role,
    content,
    ...(images && { images }),
    ...(calls && {
      tool_calls: calls.map(({ name, arguments: text }) => ({
        function: { name, arguments: parseJson(text) ?? {} },
      })),
    }),
    ...(tool !== undefined && { tool_name: tool }),
  }
}

async function* contents(body: AsyncIterable<Uint8Array>, { onUsage }: ChatWish): AsyncGenerator<ChatPiece> {
  for await (const line of lines(body)) {
    const read = piece.safeParse(parseJson(line))
    if (!read.success) throw new Failure('bad_upstream', 'Ollama sent something that is not its protocol.')
    if (read.data.error !== undefined) throw refusal(500, line)
    const { content, thinking, tool_calls: calls = [] } = read.data.message ?? {}
    if (thinking) yield { reasoning: thinking }
    if (content) yield content
    for (const call of calls)
      yield { name: call.function.name, arguments: JSON.stringify(call.function.arguments) }
    if (read.data.done) {
      onUsage?.({
        input: read.data.prompt_eval_count ?? 0,
        output: read.data.eval_count ?? 0,
        cut: read.data.done_reason === 'length',
      })
      return
    }
  }
  throw new Failure('bad_upstream', brokenOff)
}
