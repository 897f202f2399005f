import { afterEach, describe, expect, it } from 'vitest'
import { json, left, serve, serveWhisperCpp, type Call } from './upstream.fixture.ts'
import { findWhisper } from './whisper.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const never = new AbortController().signal
const samples = Int16Array.of(1, -2, 3)

async function find(url: string) {
  const whisper = await findWhisper(url, never)
  closers.push(() => whisper.close())
  return whisper
}

async function whisperCpp(hear: (call: Call) => unknown) {
  const served = await serveWhisperCpp(hear)
  closers.push(served.close)
  return { served, whisper: await find(served.url) }
}

/** As speaches, LocalAI and their kin answer. */
async function openAi(models: readonly string[], hear?: (call: Call) => unknown) {
  const served = await serve((call) => {
    const { response, route, body } = call
    if (route === 'GET /v1/models')
      return json(response, 200, { object: 'list', data: models.map((id) => ({ id })) })
    if (route !== 'POST /v1/audio/transcriptions') return json(response, 404, { detail: 'Not Found' })
    return body.includes('RIFF') ? hear?.(call) : json(response, 422, { detail: [{ msg: 'Field required' }] })
  })
  closers.push(served.close)
  return served
}

function formOf({ body, request }: Call): Promise<FormData> {
  const type = request.headers['content-type'] ?? ''
  return new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData()
}

describe('asking a speech-to-text server what it is', () => {
  it('knows whisper.cpp’s by its way to refuse', async () => {
    const { whisper } = await whisperCpp(() => {})
    expect(whisper).toMatchObject({ kind: 'whisper.cpp', models: [] })
  })

  it('knows an OpenAI-compatible one, also by its address with /v1, and picks its speech model', async () => {
    const served = await openAi(['llama3.2', 'Systran/faster-whisper-small'])
    for (const url of [served.url, `${served.url}/v1`, `${served.url}/v1/`])
      expect(await find(url)).toMatchObject({ kind: 'openai', models: ['Systran/faster-whisper-small'] })
  })

  it('waits for one that loads its model, and takes no other program for one', async () => {
    const loading = await serve(({ response }) => json(response, 503, { status: 'loading model' }))
    const other = await serve(({ response }) => json(response, 404, {}))
    closers.push(loading.close, other.close)
    await expect(findWhisper(loading.url, never)).rejects.toMatchObject({ code: 'unavailable' })
    await expect(findWhisper(other.url, never)).rejects.toMatchObject({ code: 'bad_upstream' })
  })
})

describe('a transcript', () => {
  it('comes from whisper.cpp as one trimmed line, for a WAV of exactly our samples', async () => {
    const { served, whisper } = await whisperCpp(({ response }) =>
      json(response, 200, { text: ' Turn on\n the lights.\n' }),
    )
    expect(await whisper.transcribe(samples, never)).toBe('Turn on the lights.')
    const form = await formOf(served.calls.at(-1) as Call)
    expect([...form.keys()].sort()).toEqual(['file', 'no_language_probabilities', 'response_format'])
    expect([form.get('no_language_probabilities'), form.get('response_format')]).toEqual([
      'true',
      'verbose_json',
    ])
    const file = Buffer.from(await (form.get('file') as File).arrayBuffer())
    expect([file.toString('latin1', 0, 4), file.toString('latin1', 8, 16)]).toEqual(['RIFF', 'WAVEfmt '])
    expect([file.readUInt16LE(22), file.readUInt32LE(24), file.readUInt16LE(34)]).toEqual([1, 16_000, 16])
    expect([file.readUInt32LE(4), file.readUInt32LE(40), file.length]).toEqual([42, 6, 50])
    expect([...file.subarray(44)]).toEqual([1, 0, 254, 255, 3, 0])
  })

  it('comes from an OpenAI-compatible server, asked with the model it has', async () => {
    const served = await openAi(['whisper-large'], ({ response }) => json(response, 200, { text: ' Yes. ' }))
    expect(await (await find(served.url)).transcribe(samples, never)).toBe('Yes.')
    expect((await formOf(served.calls.at(-1) as Call)).get('model')).toBe('whisper-large')
  })

  it('is empty where whisper.cpp says that nothing was said', async () => {
    const { whisper } = await whisperCpp(({ response }) => json(response, 200, { text: ' [BLANK_AUDIO]\n' }))
    expect(await whisper.transcribe(samples, never)).toBe('')
  })

  it('leaves out what Whisper itself doubts that anybody said', async () => {
    const { whisper } = await whisperCpp(({ response }) =>
      json(response, 200, {
        text: ' Good night. Thank you for watching. \n',
        segments: [
          { text: ' Good night.', no_speech_prob: 0.7, avg_logprob: -0.3 },
          { text: ' Thank you for watching.\n', no_speech_prob: 0.8, avg_logprob: -1.2 },
        ],
      }),
    )
    expect(await whisper.transcribe(samples, never)).toBe('Good night.')
  })

  it('is asked for as plain JSON from then on, where the server has no more than that', async () => {
    const served = await openAi(['gpt-4o-transcribe'], (call) =>
      call.body.includes('verbose_json')
        ? json(call.response, 400, { error: { message: 'response_format' } })
        : json(call.response, 200, { text: 'Yes.' }),
    )
    const whisper = await find(served.url)
    const hearing = { language: 'en', prompt: 'Sotto' }
    expect(await whisper.transcribe(samples, never, hearing)).toBe('Yes.')
    const asked = served.calls.length
    expect(await whisper.transcribe(samples, never, hearing)).toBe('Yes.')
    expect(served.calls.length).toBe(asked + 1)
    const form = await formOf(served.calls.at(-1) as Call)
    expect([form.get('language'), form.get('prompt')]).toEqual(['en', 'Sotto'])
  })

  const broken: Record<string, [string, (call: Call) => unknown]> = {
    'a refusal in plain text': [
      'bad_upstream',
      ({ response }) => response.writeHead(400).end('Invalid request'),
    ],
    'a page': ['bad_upstream', ({ response }) => response.end('<html>')],
    'half an answer': [
      'bad_upstream',
      ({ response }) => {
        response.writeHead(200, { 'content-length': 100 }).write('{"te')
        setImmediate(() => response.destroy())
      },
    ],
    'a closed connection': ['unavailable', ({ response }) => response.destroy()],
    'a model that loads': ['unavailable', ({ response }) => json(response, 503, { status: 'loading model' })],
  }
  for (const [what, [code, hear]] of Object.entries(broken))
    it(`fails as ${code} where ${what} comes back`, async () => {
      const { whisper } = await whisperCpp(hear)
      await expect(whisper.transcribe(samples, never)).rejects.toMatchObject({ name: 'Failure', code })
    })

  it('that is cancelled ends the request, which is how whisper.cpp is told to stop', async () => {
    const asked = Promise.withResolvers<void>()
    const gone = Promise.withResolvers<void>()
    const { whisper } = await whisperCpp(({ response }) => {
      void left(response).then(gone.resolve)
      asked.resolve()
    })
    const cancel = new AbortController()
    const transcript = whisper.transcribe(samples, cancel.signal)
    await asked.promise
    cancel.abort()
    await expect(transcript).rejects.toThrow(/abort/i)
    await gone.promise
  })
})
