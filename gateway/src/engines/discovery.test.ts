import { afterEach, describe, expect, it } from 'vitest'
import type { EngineStates } from '#protocol/events.ts'
import { createEngines } from './discovery.ts'
import { deadUrl, json, serve, serveOllama, serveWhisperCpp, silentLog } from './upstream.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function look(options: { ollama: string; whisper?: string }) {
  const { ollama: url, whisper } = options
  const backends = [{ name: 'ollama', url, kind: 'ollama', parallel: 4 } as const]
  const engines = await createEngines({
    backends,
    ...(whisper !== undefined && { whisper: { url: whisper, parallel: 1 } }),
    log: silentLog,
    everyMs: 10,
  })
  closers.push(engines.close)
  return engines
}

describe('the engines of a gateway', () => {
  it('are the demo, with what to do about it, where nothing is found', async () => {
    const engines = await look({ ollama: await deadUrl(), whisper: await deadUrl() })
    expect(engines.chat.kind).toBe('demo')
    expect(engines.pool.models).toEqual([])
    for (const state of Object.values(engines.states))
      expect(state).toMatchObject({
        kind: 'demo',
        problem: expect.stringMatching(/./),
        remedy: expect.stringMatching(/./),
      })
    expect(engines.states.chat.remedy).toContain('ollama pull')
    expect(engines.states.transcription.remedy).toContain('--whisper')
  })

  it('are known as soon as they are made', async () => {
    const ollama = await serveOllama()
    const whisper = await serveWhisperCpp(() => {})
    closers.push(ollama.close, whisper.close)
    const { chat, states, transcriber } = await look({ ollama: ollama.url, whisper: whisper.url })
    expect([chat.kind, transcriber.kind]).toEqual(['ollama', 'whisper.cpp'])
    expect(states.chat).toEqual({ kind: 'ollama', ready: true, models: ['tiny:latest'] })
  })

  it('say what their models can do, once it is known, and again when one becomes another', async () => {
    const gemma = {
      capabilities: ['completion', 'vision'],
      model_info: { 'general.architecture': 'gemma3', 'gemma3.context_length': 131_072 },
    }
    const shown: Record<string, object> = {
      'gemma:latest': gemma,
      // Before Ollama 0.6.4.
      'old:latest': { model_info: {} },
    }
    const models = [{ name: 'gemma:latest', digest: 'a' }, { name: 'old:latest' }]
    const ollama = await serveOllama(undefined, { models, shown })
    closers.push(ollama.close)
    const engines = await look({ ollama: ollama.url })
    const details = { vision: true, thinking: false, contextTokens: 131_072 }
    await expect.poll(() => engines.states.chat.details).toEqual({ 'gemma:latest': details })
    shown['gemma:latest'] = { capabilities: ['thinking'] }
    ollama.list([{ name: 'gemma:latest', digest: 'b' }])
    await expect
      .poll(() => engines.states.chat.details)
      .toEqual({ 'gemma:latest': { vision: false, thinking: true, contextTokens: null } })
  })

  it('are taken up without a restart, let go when they are gone, and taken up again', async () => {
    const url = await deadUrl()
    const engines = await look({ ollama: url })
    const seen: string[] = []
    engines.onChange(({ chat }) => seen.push(chat.kind))
    for (const kind of ['ollama', 'demo', 'ollama'] as const) {
      const served =
        kind === 'ollama' ? await serveOllama(undefined, { port: Number(new URL(url).port) }) : undefined
      await expect.poll(() => engines.chat.kind, { timeout: 10_000 }).toBe(kind)
      await served?.close()
    }
    await expect.poll(() => engines.chat.kind, { timeout: 10_000 }).toBe('demo')
    expect(seen).toEqual(['ollama', 'demo', 'ollama', 'demo'])
  })

  it('follow Whisper in the same way, also where another kind comes back at its address', async () => {
    const first = await serveWhisperCpp(() => {})
    const engines = await look({ ollama: await deadUrl(), whisper: first.url })
    expect(engines.transcriber.kind).toBe('whisper.cpp')
    await first.close()
    await expect.poll(() => engines.transcriber.kind, { timeout: 10_000 }).toBe('demo')
    const second = await serve(
      ({ response, route }) =>
        route.endsWith('/v1/models')
          ? json(response, 200, { data: [{ id: 'whisper-1' }] })
          : json(response, route.endsWith('/v1/audio/transcriptions') ? 422 : 404, {}),
      first.port,
    )
    closers.push(second.close)
    await expect.poll(() => engines.transcriber.kind, { timeout: 10_000 }).toBe('openai')
  })

  it('say that Ollama has no model, and let the demo answer until it has', async () => {
    const ollama = await serveOllama(undefined, { models: [] })
    closers.push(ollama.close)
    const engines = await look({ ollama: ollama.url })
    expect(engines.chat.kind).toBe('demo')
    expect(engines.states.chat).toMatchObject({
      kind: 'ollama',
      ready: false,
      remedy: 'ollama pull llama3.2',
    })
    ollama.list([{ name: 'tiny:latest' }])
    await expect.poll(() => engines.chat.kind, { timeout: 10_000 }).toBe('ollama')
  })

  it('say that another program is where Ollama should be', async () => {
    const other = await serve(({ response }) => response.end('hello'))
    closers.push(other.close)
    const { states } = await look({ ollama: other.url })
    expect(states.chat).toMatchObject({ kind: 'demo', remedy: expect.stringContaining('--ollama') })
    expect(states.chat.problem).toMatch(/not Ollama/)
  })

  it('tell those who asked, until they ask no more', async () => {
    const ollama = await serveOllama(undefined, { models: [] })
    closers.push(ollama.close)
    const engines = await look({ ollama: ollama.url })
    const told: EngineStates[] = []
    const toldOnce: EngineStates[] = []
    engines.onChange((states) => told.push(states))
    const stop = engines.onChange((states) => {
      toldOnce.push(states)
      stop()
    })
    ollama.list([{ name: 'one' }])
    await expect.poll(() => told.length, { timeout: 10_000 }).toBe(1)
    ollama.list([{ name: 'one' }, { name: 'two' }])
    await expect.poll(() => told.at(-1)?.chat.models, { timeout: 10_000 }).toEqual(['one', 'two'])
    expect(toldOnce.map(({ chat }) => chat.models)).toEqual([['one']])
  })
})
