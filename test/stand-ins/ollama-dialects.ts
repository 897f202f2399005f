/** The dialects that Ollama speaks: how each asks, and how each is answered, whole and streamed. */
import type { ServerResponse } from 'node:http'

export interface Schema {
  readonly type?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly enum?: readonly unknown[]
}

interface Part {
  readonly type: string
  readonly text?: string
  readonly image_url?: string | { readonly url: string }
  readonly source?: { readonly data: string }
  readonly content?: string
}

interface Message {
  readonly role?: string
  readonly content?: string | readonly Part[]
  readonly images?: readonly string[]
  readonly type?: string
  readonly output?: string
}

export interface Body {
  readonly model?: string
  readonly messages?: readonly Message[]
  readonly prompt?: string
  readonly input?: string | readonly Message[]
  readonly images?: readonly string[]
  readonly stream?: boolean
  readonly think?: boolean | string
  readonly stream_options?: { readonly include_usage?: boolean }
  readonly options?: { readonly num_predict?: number }
  readonly max_tokens?: number
  readonly max_output_tokens?: number
  readonly format?: Schema
  readonly response_format?: { readonly json_schema?: { readonly schema: Schema } }
  readonly text?: { readonly format?: { readonly schema?: Schema } }
  readonly tools?: readonly {
    readonly name?: string
    readonly description?: string
    readonly parameters?: Schema
    readonly input_schema?: Schema
    readonly function?: { readonly name: string; readonly parameters: Schema }
  }[]
}

/** What is asked, whatever the dialect. */
export interface Wish {
  readonly said: string
  /** Of the last message, where it is a tool’s. */
  readonly toolSaid?: string
  /** Base64. */
  readonly pictures: readonly string[]
  readonly tools: readonly { readonly name: string; readonly parameters: Schema }[]
  readonly schema?: Schema
  /** Words. */
  readonly limit?: number
  /** Whether it may think first, where it can. */
  readonly thinks: boolean
}

export interface Reply {
  readonly words: readonly string[]
  readonly call?: { readonly name: string; readonly arguments: unknown }
  /** Whether a limit ended it. */
  readonly cut: boolean
  readonly input: number
  readonly output: number
}

interface Writer {
  piece(word: string): void
  /** Of what it thinks; the other dialects keep that to themselves. */
  thought?(word: string): void
  end(reply: Reply): void
}

interface Dialect {
  read(body: Body): Wish
  write(response: ServerResponse, body: Body, model: string): Writer
}

export const dialects: Readonly<Record<string, Dialect>> = {
  '/api/chat': { read, write: (response, body, model) => native(response, body, model, true) },
  '/api/generate': { read, write: (response, body, model) => native(response, body, model, false) },
  '/v1/chat/completions': { read, write: completion },
  '/v1/completions': { read, write: textCompletion },
  '/v1/responses': { read, write: responses },
  '/v1/messages': { read, write: messages },
}

export function json(response: ServerResponse, status: number, body: object): void {
  // Gin names the character set, Ollama's other layers do not; a body of the wrong type is Gin's to refuse.
  const bare = response.req.url?.startsWith('/v1') && status !== 400
  const type = bare ? 'application/json' : 'application/json; charset=utf-8'
  response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body))
}

/** Each field has its meaning in one dialect alone, or the same in all. */
function read(body: Body): Wish {
  const list = typeof body.input === 'object' ? body.input : (body.messages ?? [])
  const last = list.findLast(({ role }) => role === 'user' || role === undefined)
  const asked = typeof body.input === 'string' ? body.input : (body.prompt ?? textOf(last))
  const schema = body.format ?? body.response_format?.json_schema?.schema ?? body.text?.format?.schema
  const limit = body.options?.num_predict ?? body.max_tokens ?? body.max_output_tokens
  const toolSaid = toolIn(list.at(-1))
  return {
    said: asked,
    thinks: body.think !== false,
    pictures: [...(body.images ?? []), ...list.flatMap(picturesIn)],
    tools: (body.tools ?? []).map((tool) => ({
      name: tool.function?.name ?? tool.name ?? '',
      parameters: tool.function?.parameters ?? tool.parameters ?? tool.input_schema ?? {},
    })),
    ...(toolSaid !== undefined && { toolSaid }),
    ...(schema && { schema }),
    ...(limit !== undefined && limit >= 0 && { limit }),
  }
}

function textOf(message: Message | undefined): string {
  const content = message?.content ?? ''
  return typeof content === 'string' ? content : content.map(({ text = '' }) => text).join('')
}

function picturesIn({ content, images = [] }: Message): string[] {
  const parts = typeof content === 'object' ? content : []
  return [
    ...images,
    ...parts.flatMap(({ image_url: image, source }) => {
      const url = typeof image === 'object' ? image.url : image
      return [url?.replace(/^data:[^,]*,/, ''), source?.data].filter((one) => one !== undefined)
    }),
  ]
}

function toolIn(last: Message | undefined): string | undefined {
  if (last?.role === 'tool') return textOf(last)
  if (last?.type === 'function_call_output') return last.output
  const parts = typeof last?.content === 'object' ? last.content : []
  return parts.find(({ type }) => type === 'tool_result')?.content
}

function native(response: ServerResponse, { stream = true }: Body, model: string, chat: boolean): Writer {
  const line = (text: string, rest: object, more = {}) => ({
    model,
    created_at: new Date().toISOString(),
    ...(chat ? { message: { role: 'assistant', content: text, ...more } } : { response: text }),
    ...rest,
  })
  const last = ({ input, output, cut }: Reply) => ({
    done: true,
    done_reason: output === 0 ? 'load' : cut ? 'length' : 'stop',
    ...(output > 0 && !chat && { context: [1, 2, 3] }),
    ...(output > 0 && {
      total_duration: 9e6,
      load_duration: 1e6,
      prompt_eval_count: input,
      prompt_eval_duration: 2e6,
      eval_count: output,
      eval_duration: 6e6,
    }),
  })
  const calls = ({ call }: Reply) =>
    call && { tool_calls: [{ id: 'call_1', function: { index: 0, ...call } }] }
  if (stream) response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  return {
    piece: (word) => stream && response.write(`${JSON.stringify(line(word, { done: false }))}\n`),
    thought: (word) =>
      stream && chat && response.write(`${JSON.stringify(line('', { done: false }, { thinking: word }))}\n`),
    end(reply) {
      if (!stream) return json(response, 200, line(reply.words.join(''), last(reply), calls(reply)))
      if (reply.call) response.write(`${JSON.stringify(line('', { done: false }, calls(reply)))}\n`)
      response.end(`${JSON.stringify(line('', last(reply)))}\n`)
    },
  }
}

const usageOf = ({ input, output }: Reply) => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
})

const reasonOf = ({ call, cut }: Reply) => (call ? 'tool_calls' : cut ? 'length' : 'stop')

function completion(response: ServerResponse, body: Body, model: string): Writer {
  const { stream = false, stream_options: options } = body
  const base = { id: 'chatcmpl-7', created: 1_763_640_000, model, system_fingerprint: 'fp_ollama' }
  const calls = ({ call }: Reply) =>
    call && {
      tool_calls: [
        {
          id: 'call_1',
          index: 0,
          type: 'function',
          function: { name: call.name, arguments: JSON.stringify(call.arguments) },
        },
      ],
    }
  const chunk = (choices: object[], rest = {}) =>
    response.write(
      `data: ${JSON.stringify({ ...base, object: 'chat.completion.chunk', choices, ...rest })}\n\n`,
    )
  const delta = (content: string, more: object | undefined, finish: string | null) =>
    chunk([{ index: 0, delta: { role: 'assistant', content, ...more }, finish_reason: finish }])
  if (stream) response.writeHead(200, { 'content-type': 'text/event-stream' })
  return {
    piece: (word) => stream && delta(word, undefined, null),
    end(reply) {
      const content = reply.words.join('')
      if (!stream)
        return json(response, 200, {
          ...base,
          object: 'chat.completion',
          choices: [
            {
              index: 0,
              message: { role: 'assistant', content, ...calls(reply) },
              finish_reason: reasonOf(reply),
            },
          ],
          usage: usageOf(reply),
        })
      if (reply.call) delta('', calls(reply), null)
      delta('', undefined, reasonOf(reply))
      if (options?.include_usage) chunk([], { usage: usageOf(reply) })
      response.end('data: [DONE]\n\n')
    },
  }
}

function textCompletion(response: ServerResponse, body: Body, model: string): Writer {
  const { stream = false, stream_options: options } = body
  const base = { id: 'cmpl-7', object: 'text_completion', created: 1_763_640_000, model }
  const print = { system_fingerprint: 'fp_ollama' }
  const none = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }
  const asked = options?.include_usage === true
  const chunk = (choices: object[], usage: object) =>
    response.write(`data: ${JSON.stringify({ ...base, ...print, choices, ...(asked && { usage }) })}\n\n`)
  if (stream) response.writeHead(200, { 'content-type': 'text/event-stream' })
  return {
    piece: (text) => stream && chunk([{ text, index: 0, finish_reason: null }], none),
    end(reply) {
      const reason = reasonOf(reply)
      if (!stream)
        return json(response, 200, {
          ...base,
          ...print,
          choices: [{ text: reply.words.join(''), index: 0, finish_reason: reason }],
          usage: usageOf(reply),
        })
      chunk([{ text: '', index: 0, finish_reason: reason }], none)
      if (asked) chunk([], usageOf(reply))
      response.end('data: [DONE]\n\n')
    },
  }
}

function responses(response: ServerResponse, body: Body, model: string): Writer {
  const { stream = false, max_output_tokens: limit = null, tools = [], text } = body
  let number = 0
  const event = (type: string, rest: object) => {
    response.write(`event: ${type}\ndata: ${JSON.stringify({ ...rest, sequence_number: number, type })}\n\n`)
    number += 1
  }
  const whole = (output: object[], status: string, reply?: Reply) => ({
    id: 'resp_1',
    object: 'response',
    created_at: 1_763_640_000,
    completed_at: reply ? 1_763_640_001 : null,
    status,
    incomplete_details: null,
    model,
    previous_response_id: null,
    instructions: null,
    output,
    error: null,
    tools: tools.map((tool) => ({ ...tool, strict: null })),
    tool_choice: 'auto',
    truncation: 'disabled',
    parallel_tool_calls: true,
    text: text ?? { format: { type: 'text' } },
    top_p: 1,
    presence_penalty: 0,
    frequency_penalty: 0,
    top_logprobs: 0,
    temperature: 1,
    reasoning: null,
    usage: reply
      ? {
          input_tokens: reply.input,
          output_tokens: reply.output,
          total_tokens: reply.input + reply.output,
          input_tokens_details: { cached_tokens: 0 },
          output_tokens_details: { reasoning_tokens: 0 },
        }
      : null,
    max_output_tokens: limit,
    max_tool_calls: null,
    store: false,
    background: false,
    service_tier: 'default',
    metadata: {},
    safety_identifier: null,
    prompt_cache_key: null,
  })
  const said = (words: readonly string[]) => ({
    type: 'output_text',
    text: words.join(''),
    annotations: [],
    logprobs: [],
  })
  const message = (status: string, content: object[]) => ({
    id: 'msg_1',
    type: 'message',
    status,
    role: 'assistant',
    content,
  })
  const called = (call: NonNullable<Reply['call']>, status: string, done: boolean) => ({
    id: 'fc_1',
    type: 'function_call',
    status,
    call_id: 'call_1',
    name: call.name,
    arguments: done ? JSON.stringify(call.arguments) : '',
  })
  const at = { output_index: 0, content_index: 0, item_id: 'msg_1' }
  let begun = false
  const begin = () => {
    if (begun) return
    begun = true
    event('response.output_item.added', { output_index: 0, item: message('in_progress', []) })
    event('response.content_part.added', { ...at, part: said([]) })
  }
  if (stream) {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    event('response.created', { response: whole([], 'in_progress') })
    event('response.in_progress', { response: whole([], 'in_progress') })
  }
  return {
    piece(word) {
      if (!stream) return
      begin()
      event('response.output_text.delta', { ...at, delta: word, logprobs: [] })
    },
    end(reply) {
      const { words, call } = reply
      const item = call ? called(call, 'completed', true) : message('completed', [said(words)])
      if (!stream) return json(response, 200, whole([item], 'completed', reply))
      if (call) {
        const place = { item_id: 'fc_1', output_index: 0 }
        event('response.output_item.added', { output_index: 0, item: called(call, 'in_progress', false) })
        event('response.function_call_arguments.delta', { ...place, delta: JSON.stringify(call.arguments) })
        event('response.function_call_arguments.done', {
          ...place,
          arguments: JSON.stringify(call.arguments),
        })
      } else {
        begin()
        event('response.output_text.done', { ...at, text: words.join(''), logprobs: [] })
        event('response.content_part.done', { ...at, part: said(words) })
      }
      event('response.output_item.done', { output_index: 0, item })
      event('response.completed', { response: whole([item], 'completed', reply) })
      response.end()
    },
  }
}

/** Anthropic’s, as `anthropic/anthropic.go` in ollama/ollama makes it. */
function messages(response: ServerResponse, { stream = false }: Body, model: string): Writer {
  const base = { id: 'msg_1', type: 'message', role: 'assistant', model }
  const event = (type: string, rest: object = {}) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`)
  const reason = ({ call, cut }: Reply) => (call ? 'tool_use' : cut ? 'max_tokens' : 'end_turn')
  let begun = false
  const begin = (block: object) => {
    if (begun) return
    begun = true
    event('message_start', {
      message: { ...base, content: [], usage: { input_tokens: 7, output_tokens: 0 } },
    })
    event('content_block_start', { index: 0, content_block: block })
  }
  if (stream) response.writeHead(200, { 'content-type': 'text/event-stream' })
  return {
    piece(text) {
      if (!stream) return
      begin({ type: 'text', text: '' })
      event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })
    },
    end(reply) {
      const { words, call, input, output } = reply
      const usage = { input_tokens: input, output_tokens: output }
      if (!stream)
        return json(response, 200, {
          ...base,
          content: [
            call
              ? { type: 'tool_use', id: 'call_1', name: call.name, input: call.arguments }
              : { type: 'text', text: words.join('') },
          ],
          stop_reason: reason(reply),
          usage,
        })
      if (call) {
        begin({ type: 'tool_use', id: 'call_1', name: call.name, input: {} })
        const partial = JSON.stringify(call.arguments)
        event('content_block_delta', {
          index: 0,
          delta: { type: 'input_json_delta', partial_json: partial },
        })
      } else begin({ type: 'text', text: '' })
      event('content_block_stop', { index: 0 })
      event('message_delta', { delta: { stop_reason: reason(reply) }, usage })
      event('message_stop')
      response.end()
    },
  }
}
