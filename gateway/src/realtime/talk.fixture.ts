/** The realtime socket on a loopback port, with engines that a test writes itself, and a client of it. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'vitest'
import { WebSocket } from 'ws'
import { network } from '#api/serve.fixture.ts'
import { openScratch } from '#conversations/open.fixture.ts'
import type { ChatPiece, ChatWish, Engines, Hearing } from '#engines/engine.ts'
import { createModelPool } from '#engines/pool.ts'
import type { Speech } from '#engines/speech.ts'
import { createDirectory } from '#identity/directory.ts'
import { createKeyring } from '#identity/keyring.ts'
import { ownNames } from '#listener/origin.ts'
import type { ClientEventInput, EngineStates, ServerEvent } from '#protocol/events.ts'
import { decodeFrame, encodeFrame, subprotocol, type AudioFrame, type OpusFrame } from '#protocol/frame.ts'
import { pino } from 'pino'
import { nobodySpecial } from './account.fixture.ts'
import { createRealtime } from './socket.ts'
import type { VoiceActivity } from './voice-activity.ts'

export const states: EngineStates = {
  chat: { kind: 'ollama', ready: true, models: ['tiny', 'large'] },
  transcription: { kind: 'whisper.cpp', ready: true, models: [] },
}

export interface Script {
  /** What the model answers. */
  chat?(wish: ChatWish, signal: AbortSignal): AsyncIterable<ChatPiece>
  /** What is heard in a recording. */
  hear?(samples: Int16Array, hearing: Hearing, signal: AbortSignal): Promise<string> | string
  /** A row of the audit. */
  record?(row: object): void
  /** Engines of the test's own, in place of these. */
  engines?: Engines
  /** The sound of a text; null: nothing speaks. */
  say?: null | ((text: string, signal: AbortSignal) => AsyncIterable<Int16Array>)
}

export interface Talk {
  readonly url: string
  readonly chats: ChatWish[]
  readonly recordings: Int16Array[]
  readonly spoken: string[]
  readonly conversations: Awaited<ReturnType<typeof openScratch>>['conversations']
  /** Tells that an engine came or went. */
  change(states: EngineStates): void
  close(): Promise<void>
}

/** Speech is what is louder than a whisper: the real model listens in its own test and in the browser's. */
const loudness: VoiceActivity = {
  open: () => ({
    hear: async (frame) => (frame.some((sample) => Math.abs(sample) > 0.1) ? 0.95 : 0.01),
    close() {},
  }),
  close: async () => {},
}

/** 20 ms of sound for each letter, 100 ms at a time. */
export async function* letters(text: string): AsyncGenerator<Int16Array> {
  for (let at = 0; at < text.length; at += 5)
    yield new Int16Array(Math.min(5, text.length - at) * 480).fill(1_000)
}

export async function serveTalk(script: Script = {}): Promise<Talk> {
  const chats: ChatWish[] = []
  const recordings: Int16Array[] = []
  const spoken: string[] = []
  const listeners = new Set<(states: EngineStates) => void>()
  let now = states
  const engines: Engines = script.engines ?? {
    chat: {
      kind: 'ollama',
      async *chat(wish, signal) {
        chats.push(wish)
        if (script.chat) yield* script.chat(wish, signal)
        else yield 'Hello.'
        wish.onUsage?.({ input: 7, output: 3, cut: false })
      },
      async warm() {},
    },
    transcriber: {
      kind: 'whisper.cpp',
      async transcribe(samples, signal, hearing = {}) {
        if (hearing.urgency !== 'partial') recordings.push(samples)
        return (await script.hear?.(samples, hearing, signal)) ?? 'what is said'
      },
      transcribeFile: async () => ({ contentType: 'text/plain', text: '' }),
    },
    get states() {
      return now
    },
    pool: createModelPool([]),
    lend: () => Promise.reject(new Error('nobody lends here')),
    befriend: () => async () => {},
    get own() {
      return engines
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: async () => {},
  }
  const speech: Speech | undefined =
    script.say === null
      ? undefined
      : {
          kind: 'openai',
          voices: async () => [],
          say({ text }, signal) {
            spoken.push(text)
            return (script.say ?? letters)(text, signal)
          },
          speak: async () => {
            throw new Error('not asked here')
          },
          close: async () => {},
        }
  const { conversations } = await openScratch()
  const server = createServer()
  let port = 0
  const realtime = createRealtime({
    ...nobodySpecial,
    recorder: {
      ...nobodySpecial.recorder,
      ledger: { record: (row) => script.record?.(row), keepPrompt() {} },
    },
    identity: { directory: createDirectory(network), keyring: createKeyring() },
    engines,
    speech,
    activity: loudness,
    conversations,
    names: () => ownNames(['127.0.0.1'], port),
    log: pino({ level: 'silent' }),
  })
  server.on('upgrade', realtime.upgrade)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  ;({ port } = server.address() as AddressInfo)
  return {
    url: `ws://127.0.0.1:${port}/v1/realtime`,
    chats,
    recordings,
    spoken,
    conversations,
    change(next) {
      now = next
      for (const listener of listeners) listener(next)
    },
    async close() {
      realtime.close()
      server.closeAllConnections()
      await new Promise((settle) => server.close(settle))
    },
  }
}

/** What is loud enough to be speech, and what is silence, at 16 kHz. */
export const speech = (ms: number): Int16Array => new Int16Array(ms * 16).fill(8_000)
export const silence = (ms: number): Int16Array => new Int16Array(ms * 16)

export type TalkClient = Awaited<ReturnType<typeof connectTalk>>

/** A client of ours, or by another protocol; its messages are kept in their order. */
export async function connectTalk(
  talk: Pick<Talk, 'url'>,
  { protocol = subprotocol, query = '' }: { protocol?: string; query?: string } = {},
) {
  const socket = new WebSocket(`${talk.url}${query}`, [protocol])
  const events: ServerEvent[] = []
  const frames: (AudioFrame & OpusFrame)[] = []
  const order: string[] = []
  let received = 0
  let closed: number | undefined
  let offset = 0
  socket.on('close', (code) => {
    closed = code
  })
  socket.on('message', (data: Buffer, isBinary) => {
    if (isBinary) {
      received += 1
      order.push('sound')
      frames.push(decodeFrame(data) as AudioFrame & OpusFrame)
      return
    }
    const event = JSON.parse(data.toString()) as ServerEvent
    if ((event.type as string) !== 'x.ack' && (event.type as string) !== 'x.resumed') received += 1
    order.push(event.type)
    events.push(event)
  })
  await once(socket, 'open')
  const send = (event: ClientEventInput) => socket.send(JSON.stringify(event))
  const all = <T extends ServerEvent['type']>(type: T) =>
    events.filter((event): event is Extract<ServerEvent, { type: T }> => event.type === type)
  const until = async <T extends ServerEvent['type']>(type: T, count = 1, timeout = 5_000) => {
    await expect.poll(() => all(type).length, { timeout, message: type }).toBeGreaterThanOrEqual(count)
    return all(type)[count - 1] as Extract<ServerEvent, { type: T }>
  }
  return {
    socket,
    events,
    frames,
    order,
    all,
    until,
    send,
    get received() {
      return received
    },
    get closed() {
      return closed
    },
    types: () => events.map(({ type }) => type as string).filter((type) => !type.startsWith('x.')),
    /** Sound that follows what was sent before, in frames of 20 ms. */
    speak(...pieces: Int16Array[]) {
      for (const piece of pieces)
        for (let at = 0; at < piece.length; at += 320) {
          const samples = piece.subarray(at, at + 320)
          socket.send(encodeFrame({ stream: 0, offset, samples }))
          offset += samples.length
        }
    },
    /** Says turns by hand. */
    byHand: async () => {
      send({ type: 'session.update', session: { audio: { input: { turn_detection: null } } } })
      await until('session.updated')
    },
    asText: async () => {
      const before = all('session.updated').length
      send({ type: 'session.update', session: { output_modalities: ['text'] } })
      await until('session.updated', before + 1)
    },
  }
}
