import { spawnSync } from 'node:child_process'
import { OpenAI } from 'openai'
import { afterEach, describe, expect, it } from 'vitest'
import { createImages } from '#engines/images.ts'
import { createSpeech } from '#engines/speech.ts'
import { deadUrl, json, left, serve, serveWhisperCpp, type Call } from '#engines/upstream.fixture.ts'
import { serveApi, type ServeOptions } from './serve.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function open(options: ServeOptions) {
  const api = await serveApi(options)
  closers.push(api.close)
  const post = (path: string, body: object, init: RequestInit = {}) =>
    fetch(`${api.url}${path}`, { method: 'POST', body: JSON.stringify(body), ...init })
  return { ...api, post, openai: new OpenAI({ baseURL: `${api.url}/v1`, apiKey: 'none' }) }
}

async function upstream(answer: (call: Call) => unknown) {
  const served = await serve(answer)
  closers.push(served.close)
  return served
}

const sound = Buffer.from('RIFF....WAVEfmt ')

describe('speech', () => {
  it('comes from espeak-ng where there is no better voice, for OpenAI’s client and at the seed’s path', async () => {
    const speech = createSpeech({ engine: 'espeak-ng' })
    const { openai, post, rows } = await open({ ...(speech && { speech }) })
    const spoken = await openai.audio.speech.create({
      model: 'tts-1',
      voice: 'en',
      input: 'Good morning.',
      response_format: 'wav',
    })
    const bytes = Buffer.from(await spoken.arrayBuffer())
    expect([bytes.subarray(0, 4).toString(), spoken.headers.get('content-type')]).toEqual([
      'RIFF',
      'audio/wav',
    ])
    expect(bytes.length).toBeGreaterThan(20_000)
    const seed = await post('/tts/api/speak', { text: 'Good morning.', speed: 2 })
    expect(Buffer.from(await seed.arrayBuffer()).length).toBeLessThan(bytes.length)
    expect(await rows('audit')).toMatchObject([
      { service: 'speech', backend: 'espeak-ng', status: 200 },
      { service: 'speech', path: '/tts/api/speak' },
    ])
  })

  it('has voices that can be chosen, or none', async () => {
    const speech = createSpeech({ engine: 'espeak-ng' })
    const { url } = await open({ ...(speech && { speech }) })
    const list = async (at: string) => (await fetch(`${at}/v1/audio/voices`)).json()
    expect(await list(url)).toMatchObject({
      voices: expect.arrayContaining([{ id: 'de', name: 'German', language: 'de' }]),
    })
    expect(await list((await open({})).url)).toEqual({ voices: [] })
  })

  it('comes as samples at 24 kHz from every engine, for who asks for pcm', async () => {
    const speech = createSpeech({ engine: 'espeak-ng' })
    const { openai } = await open({ ...(speech && { speech }) })
    const ask = (response_format: 'pcm' | 'wav') =>
      openai.audio.speech.create({ model: 'tts-1', voice: 'en', input: 'Good morning.', response_format })
    const pcm = await ask('pcm')
    expect(pcm.headers.get('content-type')).toBe('audio/pcm')
    const samples = (await pcm.arrayBuffer()).byteLength / 2
    const spoken = ((await (await ask('wav')).arrayBuffer()).byteLength - 44) / 2
    expect(samples).toBe(Math.round((spoken * 24_000) / 22_050))
  })

  it('passes on what an OpenAI-compatible server speaks, in the format that was asked for', async () => {
    const tts = await upstream(({ response }) =>
      response.writeHead(200, { 'content-type': 'audio/mpeg' }).end(sound),
    )
    const speech = createSpeech({ engine: 'openai', url: `${tts.url}/v1`, model: 'kokoro' })
    const { openai } = await open({ ...(speech && { speech }) })
    const spoken = await openai.audio.speech.create({
      model: 'any',
      voice: 'alloy',
      input: 'Hi',
      response_format: 'mp3',
    })
    expect(Buffer.from(await spoken.arrayBuffer())).toEqual(sound)
    expect(JSON.parse(tts.calls[0]?.body.toString() ?? '')).toEqual({
      model: 'kokoro',
      voice: 'alloy',
      input: 'Hi',
      speed: 1,
      response_format: 'mp3',
    })
  })

  for (const path of ['/synthesize', '/'])
    it(`asks Piper as its server is asked, at ${path}`, async () => {
      const piper = await upstream(({ response, route }) =>
        route === `POST ${path}`
          ? response.writeHead(200, { 'content-type': 'audio/wav' }).end(sound)
          : response.writeHead(404).end('Not Found'),
      )
      const speech = createSpeech({ engine: 'piper', url: piper.url, voice: 'en_US-amy' })
      const { post } = await open({ ...(speech && { speech }) })
      expect((await post('/tts/api/speak', { text: 'Hi', speed: 2 })).status).toBe(200)
      const asked = piper.calls.length
      expect((await post('/tts/api/speak', { text: 'Hi', speed: 2 })).status).toBe(200)
      expect(piper.calls.length).toBe(asked + 1)
      expect(JSON.parse(piper.calls.at(-1)?.body.toString() ?? '')).toEqual({
        text: 'Hi',
        length_scale: 0.5,
        voice: 'en_US-amy',
      })
    })

  for (const [what, body, said] of [
    [
      'a format that the engine does not make',
      { input: 'Hi', response_format: 'mp3' },
      'response_format: espeak-ng makes wav',
    ],
    ['a voice that is none', { input: 'Hi', voice: 'klingon-x' }, 'voice: espeak-ng has none'],
    [
      'a voice that is an option',
      { input: 'Hi', voice: '--stdin' },
      'voice: espeak-ng’s voices are languages',
    ],
    ['no text', { input: '' }, 'input: '],
    ['too long a text', { input: 'x'.repeat(5_000) }, 'input: '],
  ] as const)
    it(`refuses ${what}, by name`, async () => {
      const speech = createSpeech({ engine: 'espeak-ng' })
      const { post } = await open({ ...(speech && { speech }) })
      const refused = await post('/v1/audio/speech', body)
      expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining(said)])
    })

  it('ends upstream within 50 ms when the client leaves', { retry: 2 }, async () => {
    const gone = Promise.withResolvers<number>()
    const tts = await upstream(({ response }) => {
      void left(response).then(() => gone.resolve(performance.now()))
      response.writeHead(200, { 'content-type': 'audio/wav' }).write(sound)
    })
    const speech = createSpeech({ engine: 'piper', url: tts.url })
    const { post } = await open({ ...(speech && { speech }) })
    const abort = new AbortController()
    await post('/tts/api/speak', { text: 'Hi' }, { signal: abort.signal })
    const start = performance.now()
    abort.abort()
    expect((await gone.promise) - start).toBeLessThan(50)
  })
})

describe('transcription', () => {
  const recording = () => {
    const { stdout } = spawnSync('espeak-ng', ['--stdout', 'hello'])
    return new File([stdout], 'hello.wav', { type: 'audio/wav' })
  }

  it('comes from Whisper, for OpenAI’s client and at the seed’s path', async () => {
    const whisper = await serveWhisperCpp(({ response }) => json(response, 200, { text: ' Hello.\n' }))
    closers.push(whisper.close)
    const { openai, url, rows } = await open({ whisper: whisper.url })
    const { text } = await openai.audio.transcriptions.create({
      file: recording(),
      model: 'whisper-1',
      language: 'en',
      prompt: 'A greeting',
    })
    expect(text.trim()).toBe('Hello.')
    const sent = whisper.calls.at(-1)?.body.toString('latin1') ?? ''
    for (const part of [
      'RIFF',
      'name="language"\r\n\r\nen',
      'name="prompt"\r\n\r\nA greeting',
      'name="response_format"\r\n\r\njson',
    ])
      expect(sent).toContain(part)
    const form = new FormData()
    form.set('file', recording())
    expect((await fetch(`${url}/whisper/api/transcribe`, { method: 'POST', body: form })).status).toBe(200)
    await openai.audio.translations.create({ file: recording(), model: 'whisper-1' })
    expect(whisper.calls.at(-1)?.body.toString('latin1')).toContain('name="translate"\r\n\r\ntrue')
    expect(await rows('audit')).toMatchObject([{ service: 'transcription' }, {}, {}])
  })

  it('is made by the Whisper that came while the recording was still on its way', async () => {
    const place = await deadUrl()
    const { url } = await open({ whisper: place, lookEveryMs: 20 })
    const form = new FormData()
    form.set('file', recording())
    const whole = new Response(form)
    const bytes = new Uint8Array(await whole.clone().arrayBuffer())
    const rest = Promise.withResolvers<void>()
    const body = new ReadableStream({
      async start(controller) {
        controller.enqueue(bytes.subarray(0, 1_000))
        await rest.promise
        controller.enqueue(bytes.subarray(1_000))
        controller.close()
      },
    })
    const init = { method: 'POST', headers: [...whole.headers] as [string, string][], body, duplex: 'half' }
    const answer = fetch(`${url}/v1/audio/transcriptions`, init as RequestInit)
    const whisper = await serveWhisperCpp(({ response }) => json(response, 200, { text: ' Hello.\n' }), {
      port: Number(new URL(place).port),
    })
    closers.push(whisper.close)
    const heard = async () =>
      (await (await fetch(`${url}/health`)).json()) as { engines: { transcription: object } }
    await expect.poll(heard).toMatchObject({ engines: { transcription: { kind: 'whisper.cpp' } } })
    rest.resolve()
    expect(await (await answer).json()).toEqual({ text: ' Hello.\n' })
  })

  it('refuses what is no recording, no form, or too large', async () => {
    const whisper = await serveWhisperCpp(() => {})
    closers.push(whisper.close)
    const { url, post } = await open({ whisper: whisper.url })
    expect((await post('/v1/audio/transcriptions', {})).status).toBe(400)
    const send = (file: Blob) => {
      const form = new FormData()
      form.set('file', file)
      return fetch(`${url}/v1/audio/transcriptions`, { method: 'POST', body: form })
    }
    const text = await send(new Blob(['no sound']))
    expect([text.status, await text.text()]).toEqual([400, expect.stringContaining('file: ')])
    const large = await send(new Blob([new Uint8Array(26 * 1024 * 1024)])).catch(() => undefined)
    if (large) expect(large.status).toBe(413)
  })

  it('says what is missing where there is no Whisper', async () => {
    const { url } = await open({})
    const form = new FormData()
    form.set('file', recording())
    const refused = await fetch(`${url}/v1/audio/transcriptions`, { method: 'POST', body: form })
    expect([refused.status, await refused.text()]).toEqual([503, expect.stringContaining('speech-to-text')])
  })
})

describe('pictures', () => {
  const picture = 'iVBORw0KGgo='
  const made = ({ response }: Call) =>
    json(response, 200, { images: [picture], parameters: { steps: 20 }, info: '{"seed":7}' })

  it('come from AUTOMATIC1111, for OpenAI’s client and at the seed’s paths, with no field of the caller’s own', async () => {
    const a1111 = await upstream(made)
    const { openai, post } = await open({ images: createImages({ engine: 'automatic1111', url: a1111.url }) })
    const { data } = await openai.images.generate({
      model: 'sd',
      prompt: 'a boat',
      size: '256x256',
      response_format: 'b64_json',
    })
    expect(data?.[0]?.b64_json).toBe(picture)
    const simple = await post('/image/api/generate/simple', {
      prompt: 'a boat',
      override_settings: { x: 1 },
      script_name: 'evil',
    })
    expect(await simple.json()).toEqual({ image: picture, parameters: { steps: 20 }, info: '{"seed":7}' })
    const whole = await post('/image/api/generate', { prompt: 'a boat' })
    expect(await whole.json()).toEqual({ images: [picture], parameters: { steps: 20 }, info: '{"seed":7}' })
    expect(a1111.calls.map(({ route }) => route)).toEqual(
      Array.from({ length: 3 }, () => 'POST /sdapi/v1/txt2img'),
    )
    expect(JSON.parse(a1111.calls[1]?.body.toString() ?? '')).toEqual({
      prompt: 'a boat',
      negative_prompt: '',
      width: 512,
      height: 512,
      steps: 20,
      cfg_scale: 7,
      sampler_name: 'Euler a',
      seed: -1,
      batch_size: 1,
      send_images: true,
      save_images: false,
    })
  })

  it('come from an OpenAI-compatible server', async () => {
    const server = await upstream(({ response }) => json(response, 200, { data: [{ b64_json: picture }] }))
    const { openai } = await open({
      images: createImages({ engine: 'openai', url: server.url, model: 'sdxl' }),
    })
    const { data } = await openai.images.generate({ prompt: 'a boat' })
    expect(data?.[0]?.b64_json).toBe(picture)
    expect(JSON.parse(server.calls[0]?.body.toString() ?? '')).toMatchObject({
      model: 'sdxl',
      size: '512x512',
      n: 1,
    })
  })

  it(
    'are interrupted when the client leaves, which closing the connection alone does not do',
    { retry: 2 },
    async () => {
      const interrupted = Promise.withResolvers<number>()
      const a1111 = await upstream(({ response, route }) => {
        if (route !== 'POST /sdapi/v1/interrupt') return
        interrupted.resolve(performance.now())
        json(response, 200, {})
      })
      const { post } = await open({ images: createImages({ engine: 'automatic1111', url: a1111.url }) })
      const abort = new AbortController()
      const answer = post('/image/api/generate', { prompt: 'a boat' }, { signal: abort.signal })
      await expect.poll(() => a1111.calls.length).toBe(1)
      const start = performance.now()
      abort.abort()
      await expect(answer).rejects.toThrow()
      expect((await interrupted.promise) - start).toBeLessThan(50)
    },
  )
})

describe('a service of the config', () => {
  const config = (url: string) => ({
    name: 'rerank',
    upstream: `${url}/base`,
    paths: ['/v1/rerank', '/files/*'],
    methods: ['POST', 'GET'],
    timeoutMs: 1_000,
  })

  it('is keyed, limited and written down like the rest, and passed through byte by byte', async () => {
    const server = await upstream(({ response, body }) =>
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(body),
    )
    const { url, secrets, rows } = await open({
      services: [config(server.url)],
      keys: { may: { services: ['rerank'] }, mayNot: { services: ['chat'] } },
    })
    const bytes = Uint8Array.from({ length: 70_000 }, (_, at) => at % 256)
    const ask = (key: string) =>
      fetch(`${url}/services/rerank/v1/rerank?top=3`, {
        method: 'POST',
        headers: { 'x-api-key': key },
        body: bytes,
      })
    const answer = await ask(secrets.may ?? '')
    expect(new Uint8Array(await answer.arrayBuffer())).toEqual(bytes)
    expect(server.calls[0]?.route).toBe('POST /base/v1/rerank?top=3')
    expect(server.calls[0]?.request.headers).not.toHaveProperty('x-api-key')
    expect((await ask(secrets.mayNot ?? '')).status).toBe(403)
    expect(await rows('audit')).toMatchObject([
      { service: 'rerank', key: 'may', status: 200, backend: 'rerank' },
      { service: 'rerank', key: 'mayNot', status: 403, refusal: 'forbidden' },
    ])
  })

  it('serves its paths and methods alone, however they are written', async () => {
    const server = await upstream(({ response }) => response.end('ok'))
    const { url } = await open({ services: [config(server.url)] })
    const status = async (path: string, method = 'GET') =>
      (await fetch(`${url}/services/rerank${path}`, { method })).status
    expect(await status('/files/a/b')).toBe(200)
    expect(await status('/v1/rerank', 'DELETE')).toBe(405)
    for (const path of [
      '/admin',
      '/v1/rerank/',
      '/files/%2e%2e/admin',
      '/files/..%2fadmin',
      '/files//admin',
      '/v1',
    ])
      expect(await status(path), path).toBe(404)
    expect(server.calls).toHaveLength(1)
  })

  it('is given up after its time', async () => {
    const server = await upstream(() => {})
    const { url } = await open({ services: [{ ...config(server.url), timeoutMs: 300 }] })
    expect((await fetch(`${url}/services/rerank/files/slow`)).status).toBe(503)
  })
})
