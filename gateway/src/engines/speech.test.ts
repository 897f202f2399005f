import { afterEach, describe, expect, it } from 'vitest'
import { createSpeech, type Speech } from './speech.ts'
import { json, left, serve, type Call } from './upstream.fixture.ts'
import { wav } from './wav.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const never = new AbortController().signal
const wish = { text: 'Good morning.', speed: 1 }

async function speaking(engine: 'openai' | 'piper', answer: (call: Call) => unknown) {
  const served = await serve(answer)
  closers.push(served.close)
  const speech = createSpeech({ engine, url: served.url })
  if (!speech) throw new Error('no speech')
  closers.push(() => speech.close())
  return { speech, calls: served.calls }
}

async function heard(sound: AsyncIterable<Int16Array>): Promise<number[]> {
  const samples: number[] = []
  for await (const chunk of sound) samples.push(...chunk)
  return samples
}

const ramp = (length: number): Int16Array => Int16Array.from({ length }, (_, at) => (at * 7) % 20_000)
const bytes = (samples: Int16Array): Buffer => Buffer.from(samples.buffer)
const pause = (ms: number): Promise<void> => new Promise((settle) => setTimeout(settle, ms))

describe('saying', () => {
  it('gives an OpenAI-compatible server’s samples as they come, in whatever pieces', async () => {
    const said = ramp(1_000)
    const { speech, calls } = await speaking('openai', async ({ response }) => {
      response.writeHead(200, { 'content-type': 'audio/pcm' })
      for (let at = 0; at < 2_000; at += 333) {
        response.write(bytes(said).subarray(at, at + 333))
        await pause(1)
      }
      response.end()
    })
    expect(await heard(speech.say(wish, never))).toEqual([...said])
    expect(JSON.parse(String(calls[0]?.body))).toMatchObject({ response_format: 'pcm', input: wish.text })
  })

  it('takes a server’s WAV for samples where it knows no pcm, and nothing else', async () => {
    const types = ['audio/x-wav', 'audio/mpeg']
    const { speech } = await speaking('openai', ({ response }) =>
      response.writeHead(200, { 'content-type': types.shift() }).end(wav(ramp(1_600), 16_000)),
    )
    expect(await heard(speech.say(wish, never))).toHaveLength(2_400)
    await expect(heard(speech.say(wish, never))).rejects.toMatchObject({
      code: 'bad_upstream',
      message: expect.stringContaining('pcm') as string,
    })
  })

  it('has the first sound before the last is made', async () => {
    const made = Promise.withResolvers<void>()
    const { speech } = await speaking('openai', async ({ response }) => {
      response.write(bytes(ramp(480)))
      await made.promise
      response.end(bytes(ramp(480)))
    })
    const sound = speech.say(wish, never)[Symbol.asyncIterator]()
    expect((await sound.next()).value).toHaveLength(480)
    made.resolve()
    expect((await sound.next()).value).toHaveLength(480)
  })

  it('brings Piper’s voice, whatever its rate, to 24 kHz', async () => {
    const { speech } = await speaking('piper', ({ response }) => response.end(wav(ramp(2_205), 22_050)))
    expect(await heard(speech.say(wish, never))).toHaveLength(2_400)
  })

  it('comes from espeak-ng at 24 kHz, too', async () => {
    const speech = createSpeech({ engine: 'espeak-ng' }) as Speech
    const samples = await heard(speech.say(wish, never))
    expect(samples.length).toBeGreaterThan(12_000)
    expect(Math.max(...samples)).toBeGreaterThan(5_000)
  })

  it('is no quiet end when the engine breaks off', async () => {
    const { speech } = await speaking('openai', async ({ response }) => {
      response.write(bytes(ramp(480)))
      await pause(20)
      response.destroy()
    })
    await expect(heard(speech.say(wish, never))).rejects.toMatchObject({ code: 'bad_upstream' })
  })

  it('refuses what is no WAV, mono, 16 bit', async () => {
    const { speech } = await speaking('piper', ({ response }) => response.end('<html>not found</html>'))
    await expect(heard(speech.say(wish, never))).rejects.toMatchObject({
      code: 'bad_upstream',
      message: expect.stringContaining('no WAV') as string,
    })
  })

  it('closes the connection when nobody listens any more, and when it is told to stop', async () => {
    const gone: Promise<void>[] = []
    const { speech } = await speaking('openai', ({ response }) => {
      gone.push(left(response))
      response.write(bytes(ramp(480)))
    })
    for await (const chunk of speech.say(wish, never)) {
      expect(chunk.length).toBe(480)
      break
    }
    await gone[0]
    const stop = new AbortController()
    const sound = speech.say(wish, stop.signal)[Symbol.asyncIterator]()
    await sound.next()
    stop.abort()
    await expect(sound.next()).rejects.toThrow('abort')
    await gone[1]
  })

  it('ends, and gives its turn to the next, though nobody ever read it', async () => {
    const gone: Promise<void>[] = []
    const { speech } = await speaking('openai', ({ response }) => {
      gone.push(left(response))
      response.write(bytes(ramp(480)))
    })
    const stop = new AbortController()
    const unread = Array.from({ length: 4 }, () => speech.say(wish, stop.signal))
    await expect.poll(() => gone.length).toBe(4)
    const next = speech.say(wish, never)[Symbol.asyncIterator]()
    stop.abort()
    await Promise.all(gone)
    expect((await next.next()).value).toHaveLength(480)
    await next.return?.()
    for (const sound of unread) await expect(heard(sound)).rejects.toThrow('abort')
  })

  it('takes callers in turn, and reads ahead of who listens', async () => {
    const spoken: string[] = []
    const { speech } = await speaking('piper', async ({ response, body }) => {
      const { text } = JSON.parse(String(body)) as { text: string }
      spoken.push(text)
      await pause(10)
      response.end(wav(ramp(240), 24_000))
    })
    const say = (text: string, caller: string) => speech.say({ text, speed: 1, caller }, never)
    const all = ['a1', 'a2', 'a3', 'a4', 'b1', 'b2'].map((text) => say(text, text.charAt(0)))
    // None is read before all were asked for.
    await Promise.all(all.map(heard))
    // Two are spoken at once: which of them comes first is chance.
    expect(spoken.slice(0, 4).sort()).toEqual(['a1', 'a2', 'a3', 'b1'])
  })
})

describe('a file of speech', () => {
  it('is pcm or wav where the engine makes the other', async () => {
    const { speech } = await speaking('piper', ({ response }) => response.end(wav(ramp(2_205), 22_050)))
    const spoken = await speech.speak({ ...wish, voice: undefined, format: 'pcm' }, never)
    let length = 0
    for await (const chunk of spoken.sound) length += (chunk as Buffer).length
    expect([spoken.contentType, length]).toEqual(['audio/pcm', 4_800])
  })
})

describe('the voices of', () => {
  for (const [what, told] of [
    ['Kokoro-FastAPI', { voices: ['af_bella', { id: 'de_anna', name: 'Anna', language: 'de_DE' }] }],
    [
      'others',
      {
        data: [
          { id: 'af_bella', languages: [] },
          { voice_id: 'de_anna', name: 'Anna', locale: 'de-de' },
        ],
      },
    ],
  ] as const)
    it(`an OpenAI-compatible server, as ${what} tell them`, async () => {
      const { speech, calls } = await speaking('openai', ({ response }) => json(response, 200, told))
      expect(await speech.voices()).toEqual([
        { id: 'af_bella', name: 'af_bella', language: null },
        { id: 'de_anna', name: 'Anna', language: 'de-DE' },
      ])
      await speech.voices()
      expect(calls.map(({ route }) => route)).toEqual(['GET /v1/audio/voices'])
    })

  it('a server that does not tell are none, until it does', async () => {
    const { speech } = await speaking('openai', ({ response }) =>
      told ? json(response, 200, { voices: ['a'] }) : json(response, 404, { error: 'not found' }),
    )
    let told = false
    expect(await speech.voices()).toEqual([])
    told = true
    expect(await speech.voices()).toHaveLength(1)
  })

  it('Piper are those that it has', async () => {
    const { speech, calls } = await speaking('piper', ({ response }) =>
      json(response, 200, {
        'en_US-lessac-medium': { language: { code: 'en_US', family: 'en' }, num_speakers: 1 },
        odd: {},
      }),
    )
    expect(await speech.voices()).toEqual([
      { id: 'en_US-lessac-medium', name: 'en_US-lessac-medium', language: 'en-US' },
      { id: 'odd', name: 'odd', language: null },
    ])
    expect(calls.map(({ route }) => route)).toEqual(['GET /voices'])
  })

  it('espeak-ng are its languages, each of which it speaks', async () => {
    const speech = createSpeech({ engine: 'espeak-ng' }) as Speech
    const voices = await speech.voices()
    expect(voices).toContainEqual({ id: 'de', name: 'German', language: 'de' })
    expect(voices).toContainEqual({ id: 'en-us', name: 'English (America)', language: 'en-US' })
    for (const id of ['en-us', 'fa-latn'])
      expect((await heard(speech.say({ ...wish, voice: id }, never))).length).toBeGreaterThan(5_000)
  })
})
