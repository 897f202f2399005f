/** The demo in each dialect's shapes, while there is no engine. */
import { randomUUID } from 'node:crypto'
import { stream, streamSSE } from 'hono/streaming'
import { demoChat, demoModel } from '#engines/demo.ts'
import type { EngineView } from '#engines/engine.ts'
import type { ModelRequest } from './body.ts'
import { readMessages } from './messages.ts'
import type { Call } from './route.ts'

/** Whether there is nothing but the demo. */
export function isDemo({ states }: EngineView): boolean {
  return states.chat.kind === 'demo'
}

export function demoNative({ c, record }: Call, chat: boolean, request: ModelRequest) {
  record.service = 'chat'
  record.model = demoModel
  const messages = chat
    ? readMessages(request.messages)
    : [{ role: 'user' as const, content: typeof request.prompt === 'string' ? request.prompt : '' }]
  const said = (text: string) =>
    chat ? { message: { role: 'assistant', content: text } } : { response: text }
  const line = (text: string, done: boolean) => ({
    model: demoModel,
    created_at: new Date().toISOString(),
    ...said(text),
    done,
    ...(done && { done_reason: 'stop', total_duration: 0 }),
  })
  const pieces = demoChat.chat({ messages }, c.req.raw.signal)
  if (request.stream === false) return collect(pieces).then((text) => c.json(line(text, true)))
  c.header('Content-Type', 'application/x-ndjson')
  return stream(c, async (out) => {
    for await (const piece of pieces) await out.write(`${JSON.stringify(line(piece, false))}\n`)
    await out.write(`${JSON.stringify(line('', true))}\n`)
  })
}

export function demoOpenAi({ c, record }: Call, request: ModelRequest) {
  record.service = 'chat'
  record.model = demoModel
  const base = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: demoModel }
  const messages = readMessages(request.messages)
  const pieces = demoChat.chat({ messages }, c.req.raw.signal)
  if (request.stream !== true)
    return collect(pieces).then((content) =>
      c.json({
        ...base,
        object: 'chat.completion',
        choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
      }),
    )
  const chunk = (delta: object, reason: 'stop' | null) =>
    JSON.stringify({
      ...base,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, finish_reason: reason }],
    })
  return streamSSE(c, async (out) => {
    await out.writeSSE({ data: chunk({ role: 'assistant', content: '' }, null) })
    for await (const content of pieces) await out.writeSSE({ data: chunk({ content }, null) })
    await out.writeSSE({ data: chunk({}, 'stop') })
    await out.writeSSE({ data: '[DONE]' })
  })
}

/** The whole answer as one text. */
async function collect(pieces: AsyncIterable<string>): Promise<string> {
  let text = ''
  for await (const piece of pieces) text += piece
  return text
}
