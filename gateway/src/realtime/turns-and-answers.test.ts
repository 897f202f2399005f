/** Turns by voice activity, answers by voice, and who interrupts whom. */
import { setTimeout as pause } from 'node:timers/promises'
import { Application, createDecoder, createEncoder } from 'libopus-wasm'
import { afterEach, describe, expect, it } from 'vitest'
import type { ChatWish } from '#engines/engine.ts'
import { encodeFrame } from '#protocol/frame.ts'
import { Failure } from '../failure.ts'
import { connectTalk, letters, serveTalk, silence, speech, type Script, type Talk } from './talk.fixture.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function open(script: Script = {}) {
  const talk = await serveTalk(script)
  const client = await connectTalk(talk)
  closers.push(talk.close, () => client.socket.terminate())
  await client.until('x.engines')
  const played = (itemId: string, ms: number) =>
    client.send({ type: 'x.playback', item_id: itemId, played_ms: ms })
  return { talk, ...client, played }
}

const moon = 'The moon is far away. It takes three days to get there. Bring a book.'
async function* tellOfTheMoon() {
  for (const word of moon.split(/(?<= )/)) yield word
}
/** Never comes to its end by itself. */
async function* endless(_wish: ChatWish, signal: AbortSignal) {
  yield* tellOfTheMoon()
  await new Promise((_settle, fail) => signal.addEventListener('abort', () => fail(signal.reason as Error)))
}

describe('a turn by voice activity', () => {
  it('is heard, taken, transcribed and answered by voice, all by itself', async () => {
    const { talk, speak, until, types, frames, all } = await open({
      chat: tellOfTheMoon,
      hear: () => 'how far is it',
    })
    speak(silence(1_000), speech(1_000), silence(700))
    await until('response.done')
    expect(types().slice(1, 8)).toEqual([
      'input_audio_buffer.speech_started',
      'input_audio_buffer.speech_stopped',
      'input_audio_buffer.committed',
      'conversation.item.added',
      'conversation.item.input_audio_transcription.completed',
      'conversation.item.done',
      'response.created',
    ])
    const [started] = all('input_audio_buffer.speech_started')
    // A second of silence, less the prefix that belongs to the turn.
    expect(started?.audio_start_ms).toBeGreaterThanOrEqual(650)
    expect(started?.audio_start_ms).toBeLessThanOrEqual(720)
    expect(all('input_audio_buffer.committed')[0]?.item_id).toBe(started?.item_id)
    expect(talk.chats.map(({ messages }) => messages)).toEqual([[{ role: 'user', content: 'how far is it' }]])
    // Sentence by sentence, each with its caption before its sound, and all of it.
    expect(talk.spoken).toEqual([
      'The moon is far away.',
      'It takes three days to get there.',
      'Bring a book.',
    ])
    expect(
      all('response.output_audio_transcript.delta')
        .map(({ delta }) => delta)
        .join(''),
    ).toBe(moon)
    const samples = talk.spoken.join('').length * 480
    expect(frames.reduce((sum, frame) => sum + frame.samples.length, 0)).toBe(samples)
    expect(new Set(frames.map(({ stream }) => stream))).toEqual(
      new Set([all('response.content_part.added')[0]?.x_stream]),
    )
    expect(frames.at(-1)?.offset).toBe(samples - (frames.at(-1)?.samples.length ?? 0))
    expect(all('response.done')[0]?.response.output).toMatchObject([
      { content: [{ type: 'output_audio', transcript: moon }], status: 'completed' },
    ])
  })

  it('speaks every sentence of an answer that comes in one piece (open-webui 26322)', async () => {
    const sentences = Array.from({ length: 30 }, (_, at) => `This is sentence ${at}.`)
    const { talk, speak, until } = await open({
      async *chat() {
        yield sentences.join(' ')
      },
      async *say() {
        yield new Int16Array(240)
      },
    })
    speak(speech(500), silence(700))
    await until('response.done')
    expect(talk.spoken).toEqual(sentences)
  })

  it('is answered in small pieces of sound, however large those of the voice are', async () => {
    const { speak, until, frames } = await open({
      async *say() {
        yield new Int16Array(72_000)
      },
    })
    speak(speech(500), silence(700))
    await until('response.done')
    expect(frames.map(({ samples }) => samples.length)).toEqual(Array.from({ length: 15 }, () => 4_800))
  })

  it('is answered aloud while the answer is still being written (open-webui 3343, 14278)', async () => {
    const rest = Promise.withResolvers<void>()
    const { speak, frames, until, all } = await open({
      async *chat() {
        yield 'First I tell you this. '
        yield 'And then '
        await rest.promise
        yield 'the rest.'
      },
    })
    speak(speech(500), silence(700))
    await expect.poll(() => frames.length).toBeGreaterThan(0)
    expect(all('response.done')).toEqual([])
    rest.resolve()
    await until('response.done')
  })

  it('begins with its words at the first pause, and with the answer, and keeps both where that was all', async () => {
    const { talk, speak, until } = await open({ hear: () => 'is that all' })
    speak(speech(600), silence(300))
    await expect.poll(() => talk.chats.length).toBe(1)
    speak(silence(400))
    await until('response.done')
    expect([talk.recordings.length, talk.chats.length]).toEqual([1, 1])
  })

  it('drops both where it goes on (OpenVoiceUI 79), and the answer is to all of it', async () => {
    const aborted: boolean[] = []
    const { talk, speak, until, all } = await open({
      hear: (samples) => (samples.length > 20_000 ? 'turn on the light please' : 'turn on'),
      async *chat(_wish, signal) {
        const at = aborted.push(false) - 1
        signal.addEventListener('abort', () => (aborted[at] = true))
        await pause(50)
        signal.throwIfAborted()
        yield 'Done.'
      },
    })
    speak(speech(600), silence(300))
    await expect.poll(() => talk.chats.length).toBe(1)
    speak(speech(800), silence(700))
    await until('response.done')
    expect(all('response.created')).toHaveLength(1)
    expect(talk.chats.at(-1)?.messages).toEqual([{ role: 'user', content: 'turn on the light please' }])
    expect(aborted[0]).toBe(true)
  })

  it('is answered anew where the answer that was begun too early failed', async () => {
    let asked = 0
    const { speak, until, talk } = await open({
      hear: () => 'is that all',
      async *chat() {
        asked += 1
        if (asked === 1) throw new Failure('rate_limited', 'Too much at once.')
        yield 'It is.'
      },
    })
    speak(speech(600), silence(300))
    await expect.poll(() => talk.chats.length).toBe(1)
    speak(silence(400))
    expect((await until('response.done')).response.status).toBe('completed')
    expect(talk.chats).toHaveLength(2)
  })

  it('is not answered where nothing was said, and the next one is (livekit 1229)', async () => {
    const heard = ['', 'now really']
    const { talk, speak, until, all } = await open({
      hear: (_samples, { urgency }) => (urgency === 'partial' ? '' : (heard.shift() ?? '')),
    })
    speak(speech(500), silence(700))
    expect(await until('conversation.item.input_audio_transcription.completed')).toMatchObject({
      transcript: '',
    })
    speak(speech(500), silence(700))
    await until('response.done')
    expect(all('response.created')).toHaveLength(1)
    expect(talk.chats.at(-1)?.messages).toEqual([{ role: 'user', content: 'now really' }])
  })

  it('by meaning is over sooner where it sounds whole, and waits where it does not', async () => {
    const heard = ['what is the time?', 'I would like to']
    const { send, speak, until, all } = await open({
      hear: (_samples, { urgency }) =>
        urgency === 'partial' ? '' : (heard.shift() ?? 'I would like to sing.'),
    })
    send({
      type: 'session.update',
      session: { audio: { input: { turn_detection: { type: 'semantic_vad', eagerness: 'high' } } } },
    })
    await until('session.updated')
    speak(speech(500), silence(320))
    await until('input_audio_buffer.committed')
    speak(speech(500), silence(1_200))
    await pause(500)
    expect(all('input_audio_buffer.committed')).toHaveLength(1)
    speak(silence(1_000))
    await until('input_audio_buffer.committed', 2)
  })

  it('shows words while it is spoken, and never takes an agreed one back', async () => {
    const { speak, until, all } = await open({
      hear: (samples, { urgency }) =>
        'one two three four five six seven eight'
          .split(' ')
          .slice(0, Math.floor(samples.length / 8_000))
          .join(' ') + (urgency === 'partial' ? ' hm' : ''),
    })
    for (let at = 0; at < 8; at += 1) {
      speak(speech(500))
      await pause(20)
    }
    await until('x.partial', 3)
    const said = () =>
      all('conversation.item.input_audio_transcription.delta')
        .map(({ delta }) => delta)
        .join('')
    await expect.poll(said).toMatch(/^one two three/)
    expect(said()).not.toContain('hm')
    expect(all('x.partial').at(-1)?.tail).toMatch(/hm$/)
    speak(silence(700))
    const { transcript } = await until('conversation.item.input_audio_transcription.completed')
    expect(transcript.startsWith(said())).toBe(true)
  })

  it('asks Whisper for words in between only as something that may wait', async () => {
    const urgencies: (string | undefined)[] = []
    const { speak, until } = await open({
      hear(_samples, { urgency }) {
        urgencies.push(urgency)
        if (urgency === 'partial') throw new Failure('busy', 'Something better to do.')
        return 'words'
      },
    })
    speak(speech(1_000), speech(1_000), silence(700))
    await until('response.done')
    expect(urgencies).toContain('partial')
    expect(urgencies.filter((urgency) => urgency === 'final')).toHaveLength(1)
  })

  it('tells where its time went (pipecat 1694, livekit 2493)', async () => {
    const { speak, until } = await open()
    speak(speech(500), silence(700))
    const { timings } = await until('x.timings')
    const { turn, transcript, first_token, first_audio } = timings
    for (const [earlier, later] of [
      [turn, transcript],
      [transcript, first_audio],
      [first_token, first_audio],
    ])
      expect(earlier).toBeLessThanOrEqual(later ?? -1)
    expect(turn).toBeGreaterThanOrEqual(450)
  })
})

it(
  'who says nothing for long after an answer is spoken to, where the session wants it, and once',
  { timeout: 30_000 },
  async () => {
    const { talk, send, speak, until, played, all } = await open()
    send({
      type: 'session.update',
      session: {
        audio: { input: { turn_detection: { type: 'server_vad', idle_timeout_ms: 5_000 } } },
      },
    })
    await until('session.updated')
    speak(speech(500), silence(700))
    await until('response.done')
    played(all('response.content_part.added')[0]?.item_id ?? '', 60_000)
    const { item_id } = await until('input_audio_buffer.timeout_triggered', 1, 10_000)
    expect(all('conversation.item.done').map(({ item }) => item.id)).toContain(item_id)
    await until('response.done', 2)
    played(all('response.content_part.added')[1]?.item_id ?? '', 60_000)
    await pause(5_500)
    expect(talk.chats).toHaveLength(2)
  },
)

describe('on mobile data', () => {
  it('sound goes as Opus, both ways, at a tenth of the bytes', async () => {
    const { talk, socket, send, until, frames, all } = await open()
    const format = { type: 'audio/opus' } as const
    send({ type: 'session.update', session: { audio: { input: { format }, output: { format } } } })
    await until('session.updated')
    const encoder = await createEncoder({ sampleRate: 16_000, channels: 1, application: Application.Voip })
    const tone = Int16Array.from(speech(600), (sample, at) => sample * Math.sin(at / 5))
    let offset = 0
    for (const sound of [tone, silence(800)])
      for (let at = 0; at < sound.length; at += 320, offset += 320)
        socket.send(encodeFrame({ stream: 0, offset, packet: encoder.encode(sound.subarray(at, at + 320)) }))
    encoder.free()
    await until('response.done')
    expect(all('error')).toEqual([])
    expect(talk.recordings[0]?.length).toBeGreaterThan(9_600)
    const bytes = frames.reduce((sum, { packet }) => sum + packet.length, 0)
    const samples = talk.spoken.join('').length * 480
    expect(bytes).toBeLessThan((samples * 2) / 8)
    const decoder = await createDecoder({ sampleRate: 24_000, channels: 1 })
    const heard = frames.reduce((sum, { packet }) => sum + decoder.decode(packet).length, 0)
    decoder.free()
    // The last packet is filled with silence.
    expect(heard - samples).toBeGreaterThanOrEqual(0)
    expect(heard - samples).toBeLessThan(480)
    expect(frames.at(-1)?.offset).toBe(heard - 480)
  })

  it('a packet that is none, or was not announced, is refused', async () => {
    const { socket, send, until, all } = await open()
    const packet = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 255)
    socket.send(encodeFrame({ stream: 0, offset: 0, packet }))
    expect((await until('error')).error.message).toContain('session.update')
    send({ type: 'session.update', session: { audio: { input: { format: { type: 'audio/opus' } } } } })
    await until('session.updated')
    socket.send(encodeFrame({ stream: 0, offset: 0, packet }))
    await until('error', 2)
    expect(all('error').map(({ error }) => error.code)).toEqual(['invalid_audio', 'invalid_audio'])
  })
})

describe('over an answer', () => {
  /** An answer that is being heard, past the time in which the echo canceller learns where `wary` is false. */
  async function answering(script: Script = {}, wary = false, begun: (talk: Talk) => void = () => {}) {
    const client = await open({ chat: endless, ...script })
    begun(client.talk)
    client.speak(speech(500), silence(700))
    const part = await client.until('response.content_part.added')
    await expect.poll(() => client.frames.length).toBeGreaterThan(3)
    if (!wary) await pause(3_050)
    client.played(part.item_id, 430)
    await pause(20)
    return { ...client, itemId: part.item_id }
  }

  it('a cough, a “mhm” or a door ducks it, and it plays on (open-webui 23832, livekit 4039)', async () => {
    const { speak, until, all } = await answering()
    speak(speech(256), silence(700))
    expect(await until('x.duck', 2)).toMatchObject({ on: false })
    expect([all('x.duck')[0]?.on, all('x.hush'), all('response.done')]).toEqual([true, [], []])
    expect(all('input_audio_buffer.speech_started')).toHaveLength(1)
  })

  it('speech stops it at once, and what was not heard was not said', async () => {
    const { talk, speak, until, all, itemId } = await answering({
      hear: (samples) => (samples.length > 25_000 ? 'how about mars' : 'tell me of the moon'),
    })
    const sounds = () => all('x.hush').length
    speak(speech(1_200))
    const hush = await until('x.hush')
    expect(hush).toMatchObject({ item_id: itemId, audio_end_ms: 430 })
    const { response } = await until('response.done')
    expect(response).toMatchObject({ status: 'cancelled', status_details: { reason: 'turn_detected' } })
    // Twenty milliseconds a letter: the first sentence, and nothing of the second.
    expect(response.output).toMatchObject([
      { status: 'incomplete', content: [{ type: 'output_audio', transcript: 'The moon is far away.' }] },
    ])
    expect(sounds()).toBe(1)
    speak(speech(500), silence(700))
    await until('response.created', 2)
    expect(talk.chats.at(-1)?.messages).toEqual([
      { role: 'user', content: 'tell me of the moon' },
      { role: 'assistant', content: 'The moon is far away.' },
      { role: 'user', content: 'how about mars' },
    ])
  })

  it('nothing more comes of it once it has ended, though its voice has made more already', async () => {
    const { send, until, order, all } = await answering({
      async *chat(_wish, signal) {
        yield 'This is the first. And here is the second. The third comes after it. Then the fourth. '
        yield* endless(_wish, signal)
      },
      async *say() {
        yield new Int16Array(24_000 * 20)
      },
    })
    send({ type: 'response.cancel' })
    await until('response.done')
    const before = order.length
    await pause(200)
    expect(order.slice(before).filter((type) => !['x.ack', 'x.conversations'].includes(type))).toEqual([])
    expect(all('response.output_audio_transcript.delta').map(({ delta }) => delta)).toHaveLength(2)
  })

  it('speech without words lets it go on from the sentence that was cut (livekit 4484)', async () => {
    let turns = 0
    const { talk, speak, until } = await answering({
      hear: (_samples, { urgency }) => (urgency === 'partial' ? '' : (turns += 1) > 1 ? '' : 'tell me'),
    })
    speak(speech(700), silence(700))
    await until('x.hush')
    await until('response.created', 2)
    await expect.poll(() => talk.spoken.slice(2)).toEqual(['It takes three days to get there.'])
    // The same answer: it was not asked for again.
    expect(talk.chats.filter(({ messages }) => messages.length > 1)).toEqual([])
  })

  it('its own echo does not stop it while the canceller learns (openai-realtime-api-beta 54)', async () => {
    let turns = 0
    const { speak, until, all } = await answering(
      {
        hear: (_samples, { urgency }) =>
          urgency !== 'partial' && (turns += 1) === 1 ? 'tell me' : 'the moon is far away',
      },
      true,
    )
    speak(speech(1_500), silence(700))
    await until('x.duck', 2)
    expect([all('x.duck').at(-1)?.on, all('x.hush')]).toEqual([false, []])
  })

  it('what could not be judged is forgotten, and the next turn begins anew', async () => {
    let fails = true
    let talk0: Pick<Talk, 'chats'> = { chats: [] }
    const { talk, speak, until, all, send } = await answering(
      {
        hear(_samples, { urgency }) {
          if (urgency === 'partial') return ''
          if (talk0.chats.length > 0 && fails) throw new Failure('unavailable', 'Whisper is busy.')
          return 'tell me'
        },
      },
      true,
      (opened) => (talk0 = opened),
    )
    speak(speech(1_500), silence(700))
    await until('x.duck', 2)
    fails = false
    send({ type: 'response.cancel' })
    await until('response.done')
    speak(silence(8_000), speech(1_000), silence(700))
    await until('input_audio_buffer.committed', 2)
    await until('conversation.item.input_audio_transcription.completed', 2)
    expect(all('input_audio_buffer.speech_started')).toHaveLength(2)
    expect(talk.recordings.at(-1)?.length).toBeLessThan(1.8 * 16_000)
  })

  it('words stop it even then', async () => {
    const { speak, until } = await answering(
      { hear: (_samples, { urgency }) => (urgency === 'partial' ? 'stop please' : 'tell me') },
      true,
    )
    speak(speech(1_500))
    await until('x.hush')
  })

  it('nobody is heard who may not interrupt', async () => {
    const { send, speak, until, all } = await answering()
    send({
      type: 'session.update',
      session: { audio: { input: { turn_detection: { type: 'server_vad', interrupt_response: false } } } },
    })
    await until('session.updated')
    speak(speech(700), silence(700))
    await until('conversation.item.input_audio_transcription.completed', 2)
    expect([all('x.duck'), all('x.hush'), all('response.done')]).toEqual([[], [], []])
  })

  it('a cancel by hand stops the model and the voice', async () => {
    const ended: string[] = []
    const { send, until } = await answering({
      async *chat(wish, signal) {
        signal.addEventListener('abort', () => ended.push('chat'))
        yield* endless(wish, signal)
      },
      async *say(text, signal) {
        signal.addEventListener('abort', () => ended.push('voice'))
        yield* letters(text)
        await new Promise((_settle, fail) =>
          signal.addEventListener('abort', () => fail(signal.reason as Error)),
        )
      },
    })
    send({ type: 'response.cancel' })
    expect((await until('response.done')).response.status_details?.reason).toBe('client_cancelled')
    await expect.poll(() => new Set(ended)).toEqual(new Set(['chat', 'voice']))
  })

  it('a voice that fails ends the answer, with its words kept', async () => {
    const { speak, until } = await open({
      chat: tellOfTheMoon,
      // eslint-disable-next-line require-yield
      async *say() {
        throw new Failure('unavailable', 'Nothing speaks.')
      },
    })
    speak(speech(500), silence(700))
    const { response } = await until('response.done')
    expect(response).toMatchObject({
      status: 'failed',
      status_details: { error: { message: 'Nothing speaks.' } },
    })
  })
})

describe('for a client of OpenAI’s', () => {
  const append = (sound: Int16Array) => {
    // The same at 24 kHz: each sample and a half.
    const samples = Int16Array.from(
      { length: (sound.length * 3) / 2 },
      (_, at) => sound[Math.floor((at * 2) / 3)] ?? 0,
    )
    return {
      type: 'input_audio_buffer.append',
      audio: Buffer.from(samples.buffer).toString('base64'),
    } as const
  }
  async function openStock(script: Script = {}) {
    const talk = await serveTalk(script)
    const client = await connectTalk(talk, { protocol: 'realtime' })
    closers.push(talk.close, () => client.socket.terminate())
    await client.until('session.created')
    return { talk, ...client }
  }

  it('sound goes as base64 at 24 kHz, and nothing of ours beside it', async () => {
    const { talk, send, until, all, frames, events } = await openStock({ chat: tellOfTheMoon })
    for (const sound of [silence(500), speech(800), silence(700)]) send(append(sound))
    await until('response.done')
    const bytes = all('response.output_audio.delta').reduce(
      (sum, { delta }) => sum + Buffer.from(delta, 'base64').length,
      0,
    )
    expect(bytes).toBe(talk.spoken.join('').length * 480 * 2)
    expect(frames).toEqual([])
    expect(JSON.stringify(events)).not.toMatch(/"x[._]/)
    expect(talk.recordings[0]?.some((sample) => sample > 7_000)).toBe(true)
  })

  it('speech over an answer is told once it is meant, and what it cuts is clamped (openai-agents-python 4122)', async () => {
    const { talk, send, until, all } = await openStock({ chat: endless, hear: () => 'and mars' })
    for (const sound of [speech(500), silence(700)]) send(append(sound))
    await until('response.output_audio.delta', 3)
    await pause(3_050)
    for (let at = 0; at < 5; at += 1) send(append(speech(200)))
    await until('input_audio_buffer.speech_started', 2)
    expect((await until('response.done')).response.status_details?.reason).toBe('turn_detected')
    const [item] = all('response.output_item.added').map((event) => event.item)
    send({
      type: 'conversation.item.truncate',
      item_id: item?.id ?? '',
      content_index: 0,
      audio_end_ms: 10_000_000,
    })
    await until('conversation.item.truncated')
    send({ type: 'conversation.item.retrieve', item_id: item?.id ?? '' })
    // All that was sent was heard by then: two sentences.
    expect((await until('conversation.item.retrieved')).item).toMatchObject({
      content: [{ transcript: 'The moon is far away. It takes three days to get there.' }],
    })
    send({ type: 'conversation.item.truncate', item_id: item?.id ?? '', content_index: 0, audio_end_ms: 430 })
    await until('conversation.item.truncated', 2)
    send(append(silence(700)))
    await expect.poll(() => talk.chats.length).toBe(2)
    expect(talk.chats[1]?.messages.map(({ content }) => content)).toEqual([
      'and mars',
      'The moon is far away.',
      'and mars',
    ])
    expect(all('error')).toEqual([])
  })

  it('telephone sound is understood, and spoken', async () => {
    const { send, until, all, talk } = await openStock()
    const format = { type: 'audio/pcmu' } as const
    send({
      type: 'session.update',
      session: { type: 'realtime', audio: { input: { format }, output: { format } } },
    })
    await until('session.updated')
    // Loud and silent in G.711's µ-law, at 8 kHz.
    const tone = Buffer.from(Array.from({ length: 6_400 }, (_, at) => (at % 8 < 4 ? 0x80 : 0x00)))
    for (const audio of [tone, Buffer.alloc(5_600, 0xff)])
      send({ type: 'input_audio_buffer.append', audio: audio.toString('base64') })
    await until('response.done')
    const bytes = all('response.output_audio.delta').reduce(
      (sum, { delta }) => sum + Buffer.from(delta, 'base64').length,
      0,
    )
    // A third of the samples, a byte each; the resampler keeps its last few.
    const samples = (talk.spoken.join('').length * 480) / 3
    expect(bytes).toBeGreaterThan(samples - 100)
    expect(bytes).toBeLessThanOrEqual(samples)
  })
})
