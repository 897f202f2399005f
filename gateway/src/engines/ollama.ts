/** The voice turn's answers, from whichever backend of the pool has the model. */
import { z } from 'zod'
import { Failure } from '../failure.ts'
import type { Backend } from './backend.ts'
import type { ChatEngine, ChatMessage, ChatPiece, ChatTool, ChatWish } from './engine.ts'
import { brokenOff, refusal } from './forward.ts'
import { parseJson } from './json.ts'
import { lines } from './lines.ts'
import type { ModelPool } from './pool.ts'

const piece = z.object({
  error: z.string().optional(),
  message: z
    .object({
      content: z.string().optional(),
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
  if (model === undefined) throw new Failure('not_found', `model: there is no “${wish.model ?? ''}” here.`)
  const { tenant = '', caller = '' } = wish
  const place = await pool.place({ model, kind: 'ollama', tenant, caller, signal })
  try {
    yield* ask(place.backend, { ...wish, model }, signal)
  } finally {
    place.leave()
  }
}

async function* ask(backend: Backend, wish: ChatWish, signal: AbortSignal): AsyncGenerator<ChatPiece> {
  const { upstream, base } = backend
  const options = wish.output === undefined ? {} : { options: { num_predict: wish.output } }
  const body = JSON.stringify({
    model: wish.model,
    messages: wish.messages.map(asOllama),
    stream: true,
    ...(wish.tools?.length && { tools: wish.tools.map(toolAsOllama) }),
    ...options,
  })
  const answer = await upstream
    .request({ method: 'POST', path: `${base}/api/chat`, headers: json, body, signal })
    .catch((error: unknown) => {
      throw signal.aborted ? error : new Failure('unavailable', 'Ollama does not answer.', error)
    })
  try {
    if (answer.statusCode !== 200) throw refusal(answer.statusCode, await answer.body.text())
    yield* contents(answer.body, wish)
  } catch (error) {
    if (error instanceof Failure || signal.aborted) throw error
    throw new Failure('bad_upstream', brokenOff, error)
  }
}

/** Source: `api/types.go` of Ollama, `Message` and `Tool`. */
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

function toolAsOllama({ name, description, parameters }: ChatTool): object {
  return {
    type: 'function',
    function: {
      name,
      ...(description !== undefined && { description }),
      parameters: parameters ?? { type: 'object', properties: {} },
    },
  }
}

async function* contents(body: AsyncIterable<Uint8Array>, { onUsage }: ChatWish): AsyncGenerator<ChatPiece> {
  for await (const line of lines(body)) {
    const read = piece.safeParse(parseJson(line))
    if (!read.success) throw new Failure('bad_upstream', 'Ollama sent something that is not its protocol.')
    if (read.data.error !== undefined) throw refusal(500, line)
    const { content, tool_calls: calls = [] } = read.data.message ?? {}
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
