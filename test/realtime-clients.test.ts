/**
 * OpenAI's own clients of the Realtime API, unchanged, over TLS by our CA: a voice goes in, words and a voice come
 * out. What listens is the stand-in for Whisper, what speaks is espeak-ng.
 */
import { RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime'
import { execa } from 'execa'
import { OpenAI } from 'openai'
import type { RealtimeServerEvent } from 'openai/resources/realtime/realtime'
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { sotto, startGateway, startStandIn, temporaryDirectory, trust } from './lab/gateway.ts'
import { speak } from './stand-ins/speech.ts'

const question = 'how far away is the moon'
const folder = await temporaryDirectory()
let gateway: Awaited<ReturnType<typeof startGateway>>
let whisper: Awaited<ReturnType<typeof startStandIn>>
let ollama: Awaited<ReturnType<typeof startStandIn>>
let openai: OpenAI
let secret: string
/** The question, between two silences: PCM16 mono at 24 kHz. */
let asked: Buffer

beforeAll(async () => {
  whisper = await startStandIn(undefined, 'whisper')
  ollama = await startStandIn(undefined, 'ollama')
  const state = `${folder.path}/state`
  const engines = ['--ollama', ollama.url, '--whisper', whisper.url]
  gateway = await startGateway(undefined, state, '--loopback', '--port', '0', ...engines)
  await trust(state)
  const made = await sotto('key', 'add', 'script', '--json', '--state', state)
  ;({ secret } = z.object({ secret: z.string() }).parse(JSON.parse(made.stdout)))
  openai = new OpenAI({ baseURL: `${gateway.origins[0]}/v1`, apiKey: secret })
  await speak(question, `${folder.path}/asked.wav`, { before: 0.6, after: 1 })
  const raw = await execa({
    encoding: 'buffer',
  })`sox -D ${folder.path}/asked.wav -t raw -r 24000 -b 16 -e signed -c 1 -`
  asked = Buffer.from(raw.stdout)
})
afterAll(async () => {
  await gateway?.stop()
  await whisper?.stop()
  await ollama?.stop()
  await folder.remove()
})

/** In pieces of 100 ms, as clients do. */
function pieces(sound: Buffer): string[] {
  return Array.from({ length: Math.ceil(sound.length / 4_800) }, (_, at) =>
    sound.subarray(at * 4_800, (at + 1) * 4_800).toString('base64'),
  )
}

/** Both transports have the same interface. */
type Transport = OpenAIRealtimeWS | OpenAIRealtimeWebSocket

const transports: Record<string, () => Promise<{ client: Transport; opened: Promise<unknown> }>> = {
  'of ws': async () => {
    const client = await OpenAIRealtimeWS.create(openai, { model: 'gpt-realtime' })
    return { client, opened: new Promise((settle) => client.socket.on('open', settle)) }
  },
  'of the browser': async () => {
    const client = await OpenAIRealtimeWebSocket.create(openai, {
      model: 'gpt-realtime',
      dangerouslyAllowBrowser: true,
    })
    return {
      client,
      opened: new Promise((settle) => client.socket.addEventListener('open', settle)),
    }
  },
}

for (const [which, connect] of Object.entries(transports))
  describe(`openai’s client ${which}`, () => {
    it('talks hands-free, and hears the answer', async () => {
      const { client, opened } = await connect()
      const events: RealtimeServerEvent[] = []
      const errors: unknown[] = []
      client.on('event', (event) => events.push(event))
      client.on('error', (error) => errors.push(error))
      await opened
      client.send({
        type: 'session.update',
        session: {
          type: 'realtime',
          instructions: 'Be brief.',
          audio: {
            input: { transcription: { model: 'gpt-4o-mini-transcribe' } },
            output: { voice: 'marin' },
          },
        },
      })
      for (const audio of pieces(asked)) client.send({ type: 'input_audio_buffer.append', audio })
      const of = <T extends RealtimeServerEvent['type']>(type: T) =>
        events.filter((event): event is Extract<RealtimeServerEvent, { type: T }> => event.type === type)
      await expect.poll(() => of('response.done').length, { timeout: 30_000 }).toBe(1)
      client.close()
      expect(errors).toEqual([])
      expect(of('session.created')[0]?.session).toMatchObject({
        type: 'realtime',
        object: 'realtime.session',
      })
      const [heard] = of('conversation.item.input_audio_transcription.completed')
      expect(heard?.transcript).toBe(question)
      const order = events.map(({ type }) => type)
      const place = (type: RealtimeServerEvent['type']) => order.indexOf(type)
      const [started, stopped, committed, created, sound, done] = [
        place('input_audio_buffer.speech_started'),
        place('input_audio_buffer.speech_stopped'),
        place('input_audio_buffer.committed'),
        place('response.created'),
        place('response.output_audio.delta'),
        place('response.done'),
      ]
      expect([started, stopped, committed, created, sound, done]).toEqual(
        [started, stopped, committed, created, sound, done].toSorted((one, other) => one - other),
      )
      expect(started).toBeGreaterThan(0)
      expect(of('response.done')[0]?.response).toMatchObject({
        status: 'completed',
        output: [{ type: 'message', role: 'assistant', content: [{ type: 'output_audio' }] }],
      })
      const bytes = of('response.output_audio.delta').reduce(
        (sum, { delta }) => sum + Buffer.from(delta, 'base64').length,
        0,
      )
      // Half a second of a voice at least, at 24 kHz.
      expect(bytes).toBeGreaterThan(24_000)
      const caption = of('response.output_audio_transcript.delta').map(({ delta }) => delta)
      expect(caption.join('')).toContain('moon')
      expect(caption.join('')).toBe(of('response.output_audio_transcript.done')[0]?.transcript)
      // Nothing of ours goes to who did not ask for it.
      expect(JSON.stringify(events)).not.toMatch(/"x[._]/)
      for (const event of events) expect(event).toHaveProperty('event_id', expect.stringMatching(/^event_/))
    })

    it('talks by hand, in text, and puts things in and out of the conversation', async () => {
      const { client, opened } = await connect()
      const events: RealtimeServerEvent[] = []
      client.on('event', (event) => events.push(event))
      client.on('error', () => {})
      await opened
      const next = async <T extends RealtimeServerEvent['type']>(type: T) => {
        await expect.poll(() => events.map((event) => event.type), { timeout: 15_000 }).toContain(type)
        const at = events.findIndex((event) => event.type === type)
        return events.splice(0, at + 1).at(-1) as Extract<RealtimeServerEvent, { type: T }>
      }
      client.send({
        type: 'session.update',
        session: {
          type: 'realtime',
          output_modalities: ['text'],
          audio: { input: { turn_detection: null } },
        },
      })
      expect((await next('session.updated')).session).toMatchObject({
        audio: { input: { turn_detection: null } },
      })
      for (const audio of pieces(asked)) client.send({ type: 'input_audio_buffer.append', audio })
      client.send({ type: 'input_audio_buffer.commit' })
      client.send({ type: 'response.create' })
      const { item_id } = await next('input_audio_buffer.committed')
      expect((await next('response.done')).response.output).toMatchObject([
        { content: [{ type: 'output_text', text: expect.stringContaining('moon') }] },
      ])
      client.send({ type: 'conversation.item.retrieve', item_id: item_id })
      expect((await next('conversation.item.retrieved')).item).toMatchObject({
        content: [{ type: 'input_audio', transcript: question }],
      })
      client.send({ type: 'conversation.item.delete', item_id: item_id })
      expect((await next('conversation.item.deleted')).item_id).toBe(item_id)
      client.send({ type: 'conversation.item.retrieve', item_id: item_id })
      expect((await next('error')).error.message).toContain('there is no item')
      client.send({
        type: 'response.create',
        response: {
          conversation: 'none',
          metadata: { topic: 'aside' },
          input: [
            { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'tell me of mars' }] },
          ],
        },
      })
      const { response } = await next('response.done')
      expect(response).toMatchObject({ conversation_id: null, metadata: { topic: 'aside' } })
      expect(JSON.stringify(response.output)).toContain('mars')
      client.close()
    })
  })

it('openai’s client transcribes, and gets no answers that it did not want (speaches 559)', async () => {
  const client = await OpenAIRealtimeWS.create(openai, { intent: 'transcription' })
  const events: RealtimeServerEvent[] = []
  client.on('event', (event) => events.push(event))
  client.on('error', () => {})
  await new Promise((settle) => client.socket.on('open', settle))
  client.send({
    type: 'session.update',
    session: {
      type: 'transcription',
      audio: { input: { transcription: { model: 'whisper-1', language: 'en' } } },
    },
  })
  for (const sound of [asked, asked])
    for (const audio of pieces(sound)) client.send({ type: 'input_audio_buffer.append', audio })
  const heard = () =>
    events.flatMap((event) =>
      event.type === 'conversation.item.input_audio_transcription.completed' ? [event.transcript] : [],
    )
  await expect.poll(heard, { timeout: 30_000 }).toEqual([question, question])
  client.close()
  expect(events.filter(({ type }) => type.startsWith('response.'))).toEqual([])
})

it('where the time of a turn goes is in the metrics', async () => {
  const metrics = await (await fetch(`${gateway.origins[0]}/metrics`)).text()
  for (const stage of ['turn', 'transcript', 'first_token', 'first_audio'])
    expect(metrics).toMatch(new RegExp(`sotto_talk_seconds_count\\{stage="${stage}"\\} [1-9]`))
})

describe('OpenAI’s agents', () => {
  async function begin(agent: RealtimeAgent) {
    const session = new RealtimeSession(agent, { transport: 'websocket' })
    const errors: unknown[] = []
    session.on('error', (error) => errors.push(error))
    await session.connect({
      apiKey: secret,
      url: `${gateway.origins[0]?.replace('https', 'wss')}/v1/realtime?model=gpt-realtime-2.1`,
    })
    return { session, errors }
  }

  it('talk, and build their history from what was said and heard', async () => {
    const { session, errors } = await begin(new RealtimeAgent({ name: 'guide', instructions: 'Be brief.' }))
    let bytes = 0
    session.on('audio', ({ data }) => (bytes += data.byteLength))
    // They end turns by meaning, and the stand-in for Whisper hears no full stop: the longer silence decides.
    for (const audio of pieces(Buffer.concat([asked, Buffer.alloc(48_000 * 4)]))) {
      const piece = Buffer.from(audio, 'base64')
      session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length))
    }
    const said = () =>
      session.history.flatMap((item) =>
        item.type === 'message'
          ? [[item.role, item.content.map((part) => ('transcript' in part ? part.transcript : '')).join('')]]
          : [],
      )
    await expect.poll(said, { timeout: 30_000 }).toEqual([
      ['user', question],
      ['assistant', expect.stringContaining('moon')],
    ])
    await expect.poll(() => bytes).toBeGreaterThan(24_000)
    session.close()
    expect(errors).toEqual([])
  })

  it('call their tools, and speak of what came of it', async () => {
    const called: unknown[] = []
    const weather = tool({
      name: 'weather',
      description: 'Tells the weather of a city',
      parameters: z.object({ city: z.enum(['Rome', 'Oslo']) }),
      async execute(wish) {
        called.push(wish)
        return `Sunny in ${wish.city}`
      },
    })
    const { session, errors } = await begin(new RealtimeAgent({ name: 'guide', tools: [weather] }))
    session.sendMessage('what is the weather like in Rome')
    await expect.poll(() => called, { timeout: 15_000 }).toEqual([{ city: 'Rome' }])
    const answers = () =>
      session.history.flatMap((item) =>
        item.type === 'message' && item.role === 'assistant' ? [JSON.stringify(item.content)] : [],
      )
    await expect.poll(answers, { timeout: 15_000 }).toEqual([expect.stringContaining('Sunny in Rome')])
    session.close()
    expect(errors).toEqual([])
  })
})
