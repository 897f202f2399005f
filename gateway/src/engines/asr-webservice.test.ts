import { afterEach, describe, expect, it } from 'vitest'
import { json, left, serve, type Call } from './upstream.fixture.ts'
import { findWhisper } from './whisper.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const never = new AbortController().signal

/** As whisper-asr-webservice answers: always text/plain, and 422 without a file. */
async function webservice(hear: (call: Call) => unknown) {
  const served = await serve((call) => {
    if (!call.route.startsWith('POST /asr')) return json(call.response, 404, { detail: 'Not Found' })
    if (call.body.length === 0) return json(call.response, 422, { detail: [{ msg: 'Field required' }] })
    return hear(call)
  })
  const whisper = await findWhisper(served.url, never)
  closers.push(served.close, () => whisper.close())
  return { served, whisper }
}

function say(call: Call | undefined, text: string): void {
  call?.response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end(text)
}

function formOf({ body, request }: Call): Promise<FormData> {
  const type = request.headers['content-type'] ?? ''
  return new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData()
}

describe('whisper-asr-webservice', () => {
  it('is known by its path, and gets samples as they are', async () => {
    const { served, whisper } = await webservice((call) =>
      say(call, JSON.stringify({ text: ' Hello\n there. ', segments: [], language: 'en' })),
    )
    expect(whisper.kind).toBe('asr-webservice')
    const hearing = { language: 'en', prompt: 'Sotto & co' }
    expect(await whisper.transcribe(Int16Array.of(1, -2), never, hearing)).toBe('Hello there.')
    const call = served.calls.at(-1) as Call
    const { searchParams } = new URL(call.request.url ?? '', served.url)
    expect(Object.fromEntries(searchParams)).toEqual({
      task: 'transcribe',
      encode: 'false',
      output: 'json',
      language: 'en',
      initial_prompt: 'Sotto & co',
    })
    const file = (await formOf(call)).get('audio_file') as File
    expect([...new Uint8Array(await file.arrayBuffer())]).toEqual([1, 0, 254, 255])
  })

  it('hears files of any kind, and says which forms it makes', async () => {
    const { served, whisper } = await webservice((call) => say(call, 'WEBVTT'))
    const file = new Blob(['OggS'])
    const made = await whisper.transcribeFile(file, { format: 'vtt', translate: true }, never)
    expect(made).toEqual({ contentType: 'text/vtt', text: 'WEBVTT' })
    expect(served.calls.at(-1)?.request.url).toContain('encode=true&output=vtt')
    expect(served.calls.at(-1)?.request.url).toContain('task=translate')
    await expect(whisper.transcribeFile(file, { format: 'verbose_json' }, never)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('response_format') as string,
    })
  })

  it('is not asked how it is while it transcribes, and is left by closing the connection', async () => {
    const gone = Promise.withResolvers<void>()
    const { served, whisper } = await webservice(({ response }) => void left(response).then(gone.resolve))
    const stop = new AbortController()
    const hearing = whisper.transcribe(Int16Array.of(1), stop.signal)
    await expect.poll(() => served.calls.at(-1)?.body.length).toBeGreaterThan(0)
    const asked = served.calls.length
    await whisper.probe(never)
    expect(served.calls.length).toBe(asked)
    stop.abort()
    await expect(hearing).rejects.toThrow(/abort/i)
    await gone.promise
  })
})
