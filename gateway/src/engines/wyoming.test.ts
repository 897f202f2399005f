import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { createSpeech, type Speech } from './speech.ts'
import { inTurn } from './turns.ts'
import { deadUrl, serve } from './upstream.fixture.ts'
import { wav } from './wav.fixture.ts'
import { findWhisper } from './whisper.ts'
import { serveWyoming, type WyomingPeer } from './wyoming.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const never = new AbortController().signal
const info = {
  asr: [{ name: 'faster-whisper', models: [{ name: 'tiny-int8', languages: ['en'] }] }],
  tts: [],
}

/** As wyoming-faster-whisper: it says what it is, and hears what came when the sound stops. */
async function listening(hear: (peer: WyomingPeer) => unknown) {
  const served = await serveWyoming(({ type }, peer) => {
    if (type === 'describe') peer.send('info', info)
    if (type === 'audio-stop') hear(peer)
  })
  const whisper = await findWhisper(served.url, never)
  closers.push(served.close, () => whisper.close())
  return { served, whisper }
}

async function speaking(speak: (text: string, peer: WyomingPeer) => unknown) {
  const served = await serveWyoming(({ type, data }, peer) => {
    if (type === 'synthesize') speak(String(data.text), peer)
    if (type === 'describe') speak(type, peer)
  })
  const speech = createSpeech({ engine: 'wyoming', url: served.url, voice: 'en_US-amy' }) as Speech
  closers.push(served.close, () => speech.close())
  return { served, speech }
}

async function heard(sound: AsyncIterable<Int16Array>): Promise<number[]> {
  const samples: number[] = []
  for await (const chunk of sound) samples.push(...chunk)
  return samples
}

describe('ears over Wyoming', () => {
  it('are known by what they say of themselves, and hear exactly our samples', async () => {
    const { served, whisper } = await listening((peer) =>
      peer.send('transcript', { text: ' Hello \n there.' }),
    )
    expect(whisper).toMatchObject({ kind: 'wyoming', models: ['tiny-int8'] })
    const samples = Int16Array.from({ length: 20_000 }, (_, at) => at - 10_000)
    expect(await whisper.transcribe(samples, never, { language: 'de' })).toBe('Hello there.')
    const events = served.peers.at(-1)?.events ?? []
    expect(events[0]).toMatchObject({ type: 'transcribe', data: { language: 'de' } })
    expect(events[1]).toMatchObject({ type: 'audio-start', data: { rate: 16_000, width: 2, channels: 1 } })
    const sent = Buffer.concat(events.map(({ payload }) => payload))
    expect(sent.equals(Buffer.from(samples.buffer))).toBe(true)
  })

  it('hear WAV files of any rate, and say what they can not', async () => {
    const { served, whisper } = await listening((peer) => peer.send('transcript', { text: 'Hello.' }))
    const file = new Blob([new Uint8Array(wav(new Int16Array(4_800), 48_000))])
    expect(await whisper.transcribeFile(file, { format: 'text' }, never)).toMatchObject({ text: 'Hello.' })
    const sent = served.peers.at(-1)?.events.reduce((sum, { payload }) => sum + payload.length, 0)
    expect(sent).toBe(3_200)
    for (const [wish, say, what] of [
      [{ format: 'srt' }, 'response_format', file],
      [{ translate: true }, 'translate', file],
      [{}, 'WAV', new Blob(['OggS'])],
    ] as const)
      await expect(whisper.transcribeFile(what, wish, never)).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringContaining(say) as string,
      })
  })

  it('are told to stop by closing the connection, as a partial is for a final', async () => {
    const { served, whisper } = await listening((peer) => {
      if (peer.events.length > 3) peer.send('transcript', { text: 'whole' })
    })
    const engine = inTurn(whisper)
    const partial = engine.transcribe(new Int16Array(0), never, { urgency: 'partial' })
    await expect.poll(() => served.peers.at(-1)?.events.at(-1)?.type).toBe('audio-stop')
    const closed = once(served.peers.at(-1)?.socket as object as import('node:net').Socket, 'close')
    const final = engine.transcribe(new Int16Array(3), never)
    await expect(partial).rejects.toMatchObject({ code: 'busy' })
    await closed
    expect(await final).toBe('whole')
  })

  it('fail with what is wrong', async () => {
    const voices = await serveWyoming((_, peer) => peer.send('info', { tts: [{ name: 'piper' }] }))
    const web = await serve(({ response }) => response.end('hello'))
    closers.push(voices.close, web.close)
    const dead = (await deadUrl()).replace('http', 'tcp')
    for (const [url, code] of [
      [voices.url, 'bad_upstream'],
      [web.url.replace('http', 'tcp'), 'bad_upstream'],
      [dead, 'unavailable'],
    ] as const)
      await expect(findWhisper(url, AbortSignal.timeout(5_000))).rejects.toMatchObject({
        name: 'Failure',
        code,
      })
    const { whisper } = await listening((peer) => peer.socket.destroy())
    await expect(whisper.transcribe(new Int16Array(1), never)).rejects.toMatchObject({ code: 'bad_upstream' })
  })

  it('are not asked how they are while they hear: they would not answer', async () => {
    const { served, whisper } = await listening(() => {})
    const stop = new AbortController()
    const hearing = whisper.transcribe(new Int16Array(1), stop.signal)
    await expect.poll(() => served.peers.at(-1)?.events.at(-1)?.type).toBe('audio-stop')
    const before = served.peers.length
    await whisper.probe(never)
    expect(served.peers.length).toBe(before)
    stop.abort()
    await expect(hearing).rejects.toThrow('abort')
    await whisper.probe(never)
    expect(served.peers.length).toBe(before + 1)
  })
})

describe('a voice over Wyoming', () => {
  const rate = { rate: 22_050, width: 2, channels: 1 }

  it('is heard as it speaks, at 24 kHz', async () => {
    const { served, speech } = await speaking((_, peer) => {
      peer.send('audio-start', rate)
      for (let chunk = 0; chunk < 10; chunk += 1) peer.send('audio-chunk', rate, Buffer.alloc(4_410))
      peer.send('audio-stop')
    })
    expect(await heard(speech.say({ text: 'Hello.', speed: 1 }, never))).toHaveLength(24_000)
    expect(served.peers[0]?.events[0]?.data).toEqual({ text: 'Hello.', voice: { name: 'en_US-amy' } })
  })

  it('says which voices there are', async () => {
    const { speech } = await speaking((_, peer) =>
      peer.send('info', {
        tts: [
          {
            name: 'piper',
            voices: [
              { name: 'de_DE-thorsten', description: 'Thorsten', languages: ['de_DE'], version: null },
              { name: 'many', languages: ['en', 'de'] },
            ],
          },
        ],
      }),
    )
    expect(await speech.voices()).toEqual([
      { id: 'de_DE-thorsten', name: 'Thorsten', language: 'de-DE' },
      { id: 'many', name: 'many', language: null },
    ])
  })

  it('makes wav and pcm files, and nothing else', async () => {
    const { speech } = await speaking((_, peer) => {
      peer.send('audio-start', { ...rate, rate: 24_000 })
      peer.send('audio-chunk', rate, Buffer.from([1, 2, 3, 4]))
      peer.send('audio-stop')
    })
    const made: Buffer[] = []
    const spoken = await speech.speak({ text: 'Hi', voice: undefined, speed: 1, format: undefined }, never)
    for await (const chunk of spoken.sound) made.push(chunk as Buffer)
    expect(spoken.contentType).toBe('audio/wav')
    expect(Buffer.concat(made).toString('latin1', 0, 4)).toBe('RIFF')
    expect([...Buffer.concat(made).subarray(44)]).toEqual([1, 2, 3, 4])
    await expect(
      speech.speak({ text: 'Hi', voice: undefined, speed: 1, format: 'mp3' }, never),
    ).rejects.toMatchObject({
      code: 'invalid',
      message: 'response_format: wyoming makes wav and pcm, not mp3.',
    })
  })

  it('says when it can not, or breaks off', async () => {
    const { speech } = await speaking((text, peer) => {
      if (text === 'refuse') return peer.send('error', { text: 'no such voice at 10.0.0.7', code: 'voice' })
      peer.send('audio-start', rate)
      peer.send('audio-chunk', rate, Buffer.alloc(100))
      return peer.socket.end()
    })
    const refused = heard(speech.say({ text: 'refuse', speed: 1 }, never))
    await expect(refused).rejects.toMatchObject({
      code: 'bad_upstream',
      message: expect.not.stringContaining('10.0') as string,
    })
    const cut = heard(speech.say({ text: 'cut', speed: 1 }, never))
    await expect(cut).rejects.toMatchObject({ code: 'bad_upstream' })
  })
})
