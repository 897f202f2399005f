/**
 * The official clients of the three dialects, pointed at a gateway as their users would: its address, a key, and
 * nothing else changed. Behind it is the real Ollama where the machine has one.
 */
import { writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { Anthropic } from '@anthropic-ai/sdk'
import { Ollama } from 'ollama'
import { OpenAI, toFile } from 'openai'
import { PNG } from 'pngjs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { sotto, startGateway, startStandIn, temporaryDirectory, trust } from './lab/gateway.ts'
import { startOllama } from './lab/ollama.ts'
import { recording } from './stand-ins/speech.ts'

const question = 'how far away is the moon'
const asked = [{ role: 'user' as const, content: question }]
const city = {
  type: 'object' as const,
  properties: { city: { type: 'string', enum: ['Rome', 'Oslo'] } },
  required: ['city'],
}
const readCity = z.object({ city: z.enum(['Rome', 'Oslo']) })
/** Random weights call a tool only where they are held to the form of a call; others need no such word. */
const callForm = {
  type: 'object',
  properties: { name: { type: 'string', enum: ['weather'] }, parameters: city },
  required: ['name', 'parameters'],
}
const weather = { name: 'weather', description: 'Tells the weather of a city', parameters: city }
const picture = PNG.sync.write(new PNG({ width: 31, height: 17 })).toString('base64')

// Asked before the tests are laid out: what they may expect hangs on it.
const folder = await temporaryDirectory()
const ollama = await startOllama(undefined, folder.path)
const behind = ollama.real
  ? `Ollama ${z.object({ version: z.string() }).parse(await (await fetch(`${ollama.url}/api/version`)).json()).version}, a model of random weights`
  : 'the stand-in for Ollama'
process.stdout.write(`· Clients are answered by ${behind}\n`)
const { model } = ollama

let gateway: Awaited<ReturnType<typeof startGateway>>
let whisper: Awaited<ReturnType<typeof startStandIn>>
let images: Server
let origin: string
let secret: string
const state = `${folder.path}/state`

beforeAll(async () => {
  whisper = await startStandIn(undefined, 'whisper')
  images = await startImages()
  const at = images.address()
  const url = `http://127.0.0.1:${typeof at === 'object' ? at?.port : 0}`
  await writeFile(
    `${folder.path}/config.yaml`,
    `speech: { engine: espeak-ng }\nimages: { engine: automatic1111, url: ${url} }\n`,
  )
  gateway = await startGateway(
    undefined,
    state,
    '--loopback',
    '--port',
    '0',
    '--ollama',
    ollama.url,
    '--whisper',
    whisper.url,
    '--config',
    `${folder.path}/config.yaml`,
  )
  origin = gateway.origins[0] ?? ''
  await trust(state)
  const made = await sotto('key', 'add', 'script', '--json', '--state', state)
  ;({ secret } = z.object({ secret: z.string() }).parse(JSON.parse(made.stdout)))
})
afterAll(async () => {
  await gateway?.stop()
  await whisper?.stop()
  await ollama.stop()
  images?.close()
  await folder.remove()
})

/** AUTOMATIC1111 as far as a picture goes; its own API is tested elsewhere. */
async function startImages(): Promise<Server> {
  const server = createServer((request, response) => {
    request.resume()
    response.end(JSON.stringify({ images: [picture], parameters: {}, info: '{}' }))
  })
  await new Promise<void>((settle) => {
    server.listen(0, '127.0.0.1', settle)
  })
  return server
}

const audit = z.object({
  requests: z.array(
    z.object({
      path: z.string(),
      status: z.number(),
      ended: z.string(),
      input_tokens: z.number(),
      output_tokens: z.number(),
      counted: z.string(),
    }),
  ),
})

/** What went through the key last. */
async function lastRow(path: string) {
  const { stdout } = await sotto('audit', '--key', 'script', '--json', '--state', state)
  return audit.parse(JSON.parse(stdout)).requests.find((row) => row.path === path)
}

const openai = (apiKey = secret) => new OpenAI({ baseURL: `${origin}/v1`, apiKey })
const native = (key = secret) => new Ollama({ host: origin, headers: { Authorization: `Bearer ${key}` } })
const anthropic = (apiKey = secret) => new Anthropic({ baseURL: origin, apiKey })

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = []
  for await (const one of stream) got.push(one)
  return got
}

/** The stand-in says again what it was asked; random weights say anything. */
function expectAnswer(text: string | null | undefined, said = question): void {
  expect(text).toMatch(/\S/)
  if (!ollama.real) expect(text).toContain(`You said: ${said}.`)
}

describe('openai', () => {
  it('lists models, and finds one', async () => {
    const models = await all(openai().models.list())
    expect(models.map(({ id }) => id)).toEqual([model])
    expect(await openai().models.retrieve(model)).toMatchObject({ id: model, object: 'model' })
  })

  it('chats', async () => {
    const answer = await openai().chat.completions.create({ model, messages: asked })
    expectAnswer(answer.choices[0]?.message.content)
    expect(answer.usage?.completion_tokens).toBeGreaterThan(0)
    expect(await lastRow('/v1/chat/completions')).toMatchObject({
      status: 200,
      ended: 'whole',
      counted: 'upstream',
      output_tokens: answer.usage?.completion_tokens,
    })
  })

  it('chats in a stream, with its usage where it is asked for and not where it is not', async () => {
    const chat = (more: object) =>
      openai().chat.completions.create({ model, messages: asked, stream: true, ...more })
    const chunks = await all(await chat({ stream_options: { include_usage: true } }))
    expectAnswer(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join(''))
    const usage = chunks.at(-1)?.usage
    expect(usage?.completion_tokens).toBeGreaterThan(0)
    const without = await all(await chat({}))
    expect(without.filter(({ choices, usage: told }) => choices.length === 0 || told)).toEqual([])
    expect(await lastRow('/v1/chat/completions')).toMatchObject({
      counted: 'upstream',
      output_tokens: usage?.completion_tokens,
    })
  })

  it('calls tools, streamed and not, and tells the model what they said', async () => {
    const tools = [{ type: 'function' as const, function: weather }]
    const wish = {
      model,
      messages: asked,
      tools,
      max_tokens: 200,
      response_format: {
        type: 'json_schema' as const,
        json_schema: { name: 'call', schema: callForm },
      },
    }
    const answer = await openai().chat.completions.create(wish)
    const call = answer.choices[0]?.message.tool_calls?.[0]
    expect(answer.choices[0]?.finish_reason).toBe('tool_calls')
    expect(call).toMatchObject({ type: 'function', function: { name: 'weather' } })
    const args = call?.type === 'function' ? call.function.arguments : ''
    expect(readCity.safeParse(JSON.parse(args)).success).toBe(true)
    const stream = openai().chat.completions.stream(wish)
    const streamed = await stream.finalChatCompletion()
    expect(streamed.choices[0]?.message.tool_calls?.[0]).toMatchObject({ function: { name: 'weather' } })
    const told = await openai().chat.completions.create({
      model,
      tools,
      messages: [
        ...asked,
        { role: 'assistant', content: '', tool_calls: answer.choices[0]?.message.tool_calls ?? [] },
        { role: 'tool', tool_call_id: call?.id ?? '', content: 'sunny' },
      ],
    })
    expect(told.choices[0]?.message.content).toMatch(ollama.real ? /\S/ : /The tool said: sunny/)
  })

  it('shows a picture', async () => {
    const image = { type: 'image_url' as const, image_url: { url: `data:image/png;base64,${picture}` } }
    const answer = await openai().chat.completions.create({
      model,
      messages: [{ role: 'user', content: [{ type: 'text', text: question }, image] }],
    })
    expectAnswer(answer.choices[0]?.message.content)
    if (!ollama.real) expect(answer.choices[0]?.message.content).toContain('You showed 31 by 17')
  })

  it('is answered in the form of a schema', async () => {
    const answer = await openai().chat.completions.create({
      model,
      messages: asked,
      max_tokens: 200,
      response_format: { type: 'json_schema', json_schema: { name: 'city', schema: city } },
    })
    expect(readCity.safeParse(JSON.parse(answer.choices[0]?.message.content ?? '')).success).toBe(true)
  })

  it('completes a text, streamed and not', async () => {
    const whole = await openai().completions.create({ model, prompt: question })
    expectAnswer(whole.choices[0]?.text)
    const pieces = await all(await openai().completions.create({ model, prompt: question, stream: true }))
    expectAnswer(pieces.map(({ choices }) => choices[0]?.text ?? '').join(''))
    expect((await lastRow('/v1/completions'))?.counted).toBe('upstream')
  })

  it('asks for responses, streamed and not, with tools', async () => {
    const whole = await openai().responses.create({ model, input: question })
    expectAnswer(whole.output_text)
    const events = await all(await openai().responses.create({ model, input: question, stream: true }))
    const last = events.at(-1)
    expect(last?.type).toBe('response.completed')
    expectAnswer(
      events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join(''),
    )
    expect(await lastRow('/v1/responses')).toMatchObject({
      counted: 'upstream',
      output_tokens: last?.type === 'response.completed' ? last.response.usage?.output_tokens : -1,
    })
    const called = await openai().responses.create({
      model,
      input: question,
      max_output_tokens: 200,
      tools: [{ type: 'function', ...weather, strict: false }],
      text: { format: { type: 'json_schema', name: 'call', schema: callForm } },
    })
    expect(called.output[0]).toMatchObject({ type: 'function_call', name: 'weather' })
  })

  it('embeds', async () => {
    const { data, usage } = await openai().embeddings.create({ model, input: [question, 'another'] })
    expect(data).toHaveLength(2)
    // In the form that it asks for, base64.
    expect(data[0]?.embedding).toHaveLength(64)
    expect(usage.prompt_tokens).toBeGreaterThan(0)
  })

  it('speaks, and is understood', async () => {
    const speech = await openai().audio.speech.create({
      model: 'tts-1',
      voice: 'en-us',
      input: question,
      response_format: 'wav',
    })
    expect(
      Buffer.from(await speech.arrayBuffer())
        .subarray(0, 4)
        .toString(),
    ).toBe('RIFF')
    const spoken = await recording(question, join(folder.path, 'spoken.wav'))
    const file = await toFile(spoken, 'spoken.wav')
    expect((await openai().audio.transcriptions.create({ model: 'whisper-1', file })).text.trim()).toBe(
      question,
    )
  })

  it('has a picture made', async () => {
    const made = await openai().images.generate({ prompt: 'a boat', size: '512x512' })
    expect(made.data?.[0]?.b64_json).toBe(picture)
  })

  it('ends what it aborts', async () => {
    const stream = await openai().chat.completions.create({ model, messages: asked, stream: true })
    for await (const _ of stream) break
    if (ollama.real) return
    await expect.poll(async () => (await lastRow('/v1/chat/completions'))?.ended).toBe('left')
  })

  it('is told what is wrong, in errors of its own kinds', async () => {
    const chat = (wish: object, client = openai()) =>
      client.chat.completions.create({ model, messages: asked, ...wish }).then(
        () => undefined,
        (error: unknown) => error,
      )
    const nobody = await chat({ model: 'nobody' })
    expect(nobody).toBeInstanceOf(OpenAI.NotFoundError)
    expect(nobody).toMatchObject({
      code: 'model_not_found',
      param: 'model',
      requestID: expect.stringMatching(/^req_/),
    })
    const wrong = await chat({}, openai(`${secret.slice(0, -1)}${secret.endsWith('A') ? 'B' : 'A'}`))
    expect(wrong).toBeInstanceOf(OpenAI.AuthenticationError)
    expect(wrong).toMatchObject({ code: 'invalid_api_key' })
    expect(await chat({ tools: [{ type: 'web_search' }] })).toBeInstanceOf(OpenAI.PermissionDeniedError)
    expect(await chat({ model: 'gpt-oss:120b-cloud' })).toBeInstanceOf(OpenAI.PermissionDeniedError)
    expect(await chat({ messages: 'none' })).toBeInstanceOf(OpenAI.BadRequestError)
  })
})

describe('ollama', () => {
  it('lists, shows and says its version', async () => {
    expect((await native().list()).models.map(({ name }) => name)).toEqual([model])
    const shown = await native().show({ model })
    expect(shown.capabilities).toContain('completion')
    expect(shown.modelfile).toBeUndefined()
    expect((await native().version()).version).toMatch(/^\d+\.\d+\.\d+/)
  })

  it('chats, streamed and not', async () => {
    const answer = await native().chat({ model, messages: asked })
    expectAnswer(answer.message.content)
    const pieces = await all(await native().chat({ model, messages: asked, stream: true }))
    expectAnswer(pieces.map(({ message }) => message.content).join(''))
    expect(pieces.at(-1)).toMatchObject({ done: true, done_reason: expect.stringMatching(/stop|length/) })
    expect(await lastRow('/api/chat')).toMatchObject({
      output_tokens: pieces.at(-1)?.eval_count,
      counted: 'upstream',
    })
  })

  it('is in memory after it was used', async () => {
    await expect
      .poll(async () => (await native().ps()).models.map(({ name }) => name), { timeout: 30_000 })
      .toEqual([model])
  })

  it('generates, streamed and not', async () => {
    expectAnswer((await native().generate({ model, prompt: question })).response)
    const pieces = await all(await native().generate({ model, prompt: question, stream: true }))
    expectAnswer(pieces.map(({ response }) => response).join(''))
  })

  it('calls tools, and tells the model what they said', async () => {
    const tools = [{ type: 'function', function: weather }]
    const answer = await native().chat({
      model,
      messages: asked,
      tools,
      format: callForm,
      options: { num_predict: 200 },
    })
    expect(answer.message.tool_calls?.[0]?.function).toMatchObject({ name: 'weather' })
    const told = await native().chat({
      model,
      tools,
      messages: [...asked, answer.message, { role: 'tool', tool_name: 'weather', content: 'sunny' }],
    })
    expect(told.message.content).toMatch(ollama.real ? /\S/ : /The tool said: sunny/)
  })

  it('shows a picture, and is answered in the form of a schema', async () => {
    const shown = await native().chat({
      model,
      messages: [{ role: 'user', content: question, images: [picture] }],
    })
    if (!ollama.real) expect(shown.message.content).toContain('You showed 31 by 17')
    const { message } = await native().chat({
      model,
      messages: asked,
      format: city,
      options: { num_predict: 200 },
    })
    expect(readCity.safeParse(JSON.parse(message.content)).success).toBe(true)
  })

  it('embeds, in both ways', async () => {
    const { embeddings } = await native().embed({ model, input: [question, 'another'] })
    expect(embeddings.map(({ length }) => length)).toEqual([64, 64])
    expect((await native().embeddings({ model, prompt: question })).embedding).toHaveLength(64)
    expect((await lastRow('/api/embeddings'))?.input_tokens).toBeGreaterThan(0)
  })

  it('ends what it aborts', async () => {
    const client = native()
    const stream = await client.chat({ model, messages: asked, stream: true })
    const reading = all(stream)
    if (!ollama.real) client.abort()
    if (ollama.real) await reading
    else await expect(reading).rejects.toMatchObject({ name: 'AbortError' })
    await expect.poll(async () => (await lastRow('/api/chat'))?.ended).toBe('left')
  })

  it('is told what is wrong, and may change nothing', async () => {
    const refused = (task: Promise<unknown>) =>
      task.then(
        () => undefined,
        (error: unknown) => error,
      )
    expect(await refused(native().chat({ model: 'nobody', messages: asked }))).toMatchObject({
      name: 'ResponseError',
      status_code: 404,
      message: expect.stringContaining('nobody'),
    })
    for (const task of [
      () => native().pull({ model: 'tinyllama' }),
      () => native().delete({ model }),
      () => native().copy({ source: model, destination: 'mine' }),
      () => native().create({ model: 'mine', from: model }),
      () => native().push({ model }),
    ])
      expect(await refused(task())).toMatchObject({ status_code: 403 })
    expect((await native().list()).models).toHaveLength(1)
  })
})

describe('@anthropic-ai/sdk', () => {
  const wish = () => ({ model, max_tokens: 100, messages: asked })

  it('asks, streamed and not', async () => {
    const answer = await anthropic().messages.create(wish())
    expectAnswer(answer.content[0]?.type === 'text' ? answer.content[0].text : '')
    const stream = anthropic().messages.stream(wish())
    let text = ''
    stream.on('text', (piece) => {
      text += piece
    })
    const last = await stream.finalMessage()
    expectAnswer(text)
    expect(await lastRow('/v1/messages')).toMatchObject({
      counted: 'upstream',
      output_tokens: last.usage.output_tokens,
    })
  })

  it('may have tools, and tells the model what they said', async () => {
    const tools = [{ name: weather.name, description: weather.description, input_schema: city }]
    const messages = [
      ...asked,
      {
        role: 'assistant' as const,
        content: [{ type: 'tool_use' as const, id: 't1', name: 'weather', input: { city: 'Rome' } }],
      },
      {
        role: 'user' as const,
        content: [{ type: 'tool_result' as const, tool_use_id: 't1', content: 'sunny' }],
      },
    ]
    const told = await anthropic().messages.create({ ...wish(), tools, messages })
    expect(told.content[0]).toMatchObject({
      type: 'text',
      text: ollama.real ? expect.stringMatching(/\S/) : 'The tool said: sunny.',
    })
    const called = await anthropic()
      .messages.stream({ ...wish(), tools })
      .finalMessage()
    // Its API has no form to hold random weights to.
    if (ollama.real) return
    expect(called).toMatchObject({
      stop_reason: 'tool_use',
      content: [{ type: 'tool_use', name: 'weather', input: { city: 'Rome' } }],
    })
  })

  it('shows a picture, and counts tokens', async () => {
    const image = {
      type: 'image' as const,
      source: { type: 'base64' as const, media_type: 'image/png' as const, data: picture },
    }
    const { content } = await anthropic().messages.create({
      ...wish(),
      messages: [{ role: 'user', content: [{ type: 'text', text: question }, image] }],
    })
    if (!ollama.real)
      expect(content[0]).toMatchObject({ text: expect.stringContaining('You showed 31 by 17') })
    const { input_tokens: few } = await anthropic().messages.countTokens({ model, messages: asked })
    const { input_tokens: many } = await anthropic().messages.countTokens({
      model,
      messages: [{ role: 'user', content: question.repeat(100) }],
    })
    expect(many).toBeGreaterThan(10 * few)
  })

  it('ends what it aborts', async () => {
    const stream = anthropic().messages.stream(wish())
    stream.once('text', () => stream.abort())
    await expect(stream.finalMessage()).rejects.toBeInstanceOf(Anthropic.APIUserAbortError)
    if (ollama.real) return
    await expect.poll(async () => (await lastRow('/v1/messages'))?.ended).toBe('left')
  })

  it('is told what is wrong, in errors of its own kinds', async () => {
    const ask = (more: object, client = anthropic()) =>
      client.messages.create({ ...wish(), ...more }).then(
        () => undefined,
        (error: unknown) => error,
      )
    const nobody = await ask({ model: 'nobody' })
    expect(nobody).toBeInstanceOf(Anthropic.NotFoundError)
    expect(nobody).toMatchObject({ error: { type: 'error', error: { type: 'not_found_error' } } })
    expect(
      await ask({}, anthropic(`${secret.slice(0, -1)}${secret.endsWith('A') ? 'B' : 'A'}`)),
    ).toBeInstanceOf(Anthropic.AuthenticationError)
    expect(await ask({ tools: [{ type: 'web_search_20250305', name: 'web_search' }] })).toBeInstanceOf(
      Anthropic.PermissionDeniedError,
    )
    expect(await ask({ max_tokens: 0 })).toBeInstanceOf(Anthropic.BadRequestError)
  })
})
