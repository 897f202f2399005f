/**
 * People who talk to a gateway, as a process of its own: each sends frames of 20 ms as a microphone does. When
 * a silence or a speech has lasted long enough is found with the gateway's own model beforehand, in just the
 * samples that are sent; what is taken down is when the frame left that made it so, and when the answer came.
 *
 * Reads what it is to do as JSON from its first argument; prints a line when they begin, and one with what they saw.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createResampler } from '@sotto/gateway/engines/resample.ts'
import type { ClientEventInput } from '@sotto/gateway/protocol/events.ts'
import { encodeFrame, inputSampleRate, outputSampleRate, subprotocol } from '@sotto/gateway/protocol/frame.ts'
import { createDecoder } from '@sotto/gateway/realtime/codec.ts'
import { createTurns } from '@sotto/gateway/realtime/turns.ts'
import {
  frameSamples,
  loadVoiceActivity,
  type VoiceActivity,
} from '@sotto/gateway/realtime/voice-activity.ts'
import { execa } from 'execa'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { now } from './clock.ts'
import { mark } from './mark.ts'
import { wish, type Seen } from './seen.ts'

const chunkMs = 20
/** Enough for the end of the turn and a short answer; and for the gateway to trust the echo canceller. */
const pauseMs = 1_500
const firstAnswerMs = 4_500

interface Plan {
  readonly samples: Int16Array
  /** Where each turn's speech ends, in samples. */
  readonly spoken: readonly number[]
  /** In the gateway's samples, as its model hears them. */
  readonly paused: readonly number[]
  readonly ended: readonly number[]
  readonly sustained: readonly number[]
  /** What is sent, by chunk, and the gateway's samples up to the end of each. */
  readonly chunks: readonly Int16Array[]
  readonly ends: readonly number[]
}

const { url, ca, protocol, recordings, sessions, turns, silenceMs, interrupts, listener } = wish.parse(
  JSON.parse(process.argv[2] ?? ''),
)
const said = recordings.map((file) => {
  const bytes = readFileSync(file)
  return new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1)
})
const perMs = inputSampleRate / 1000

/** What a person says, with what the gateway makes of it. */
async function plan(session: number, activity: VoiceActivity): Promise<Plan> {
  const pieces: Int16Array[] = [new Int16Array(500 * perMs)]
  const spoken: number[] = []
  let length = 500 * perMs
  for (let count = 0; count < turns; count += 1) {
    const speech = said[(session * 7 + count * 3) % said.length] ?? new Int16Array()
    const silence = silenceMs + (interrupts && count === 0 ? firstAnswerMs : pauseMs)
    pieces.push(speech, new Int16Array(silence * perMs))
    spoken.push(length + speech.length)
    length += speech.length + silence * perMs
  }
  const samples = new Int16Array(length - (length % (chunkMs * perMs)))
  let at = 0
  for (const piece of pieces) {
    samples.set(piece.subarray(0, samples.length - at), at)
    at += piece.length
  }
  if (protocol !== 'openai') mark(samples, session)
  const sent = protocol === 'openai' ? await resample(samples) : samples
  const size = (sent.length / samples.length) * chunkMs * perMs
  const chunks = Array.from({ length: sent.length / size }, (_, index) =>
    sent.slice(index * size, (index + 1) * size),
  )
  const heard = protocol === 'openai' ? await decode(chunks) : chunks
  const ends: number[] = []
  for (const { length: more } of heard) ends.push((ends.at(-1) ?? 0) + more)
  const found = listener ? await askListener(listener, samples, spoken) : await listen(activity, heard)
  return { samples, spoken, chunks, ends, ...found }
}

async function askListener(
  [file = '', ...args]: readonly string[],
  samples: Int16Array,
  spoken: readonly number[],
) {
  const sound = join(tmpdir(), `sotto-bench-${process.pid}.pcm`)
  await writeFile(sound, samples)
  const { stdout } = await execa(file, [...args, sound], { stderr: 'ignore' })
  await rm(sound)
  const chunks = z.array(z.int()).parse(JSON.parse(stdout))
  const ended = spoken.map(
    (end) => chunks.map((chunk) => (chunk + 1) * chunkMs * perMs).find((at) => at > end) ?? NaN,
  )
  return { paused: ended, ended, sustained: [] }
}

async function resample(samples: Int16Array): Promise<Int16Array> {
  const resampler = await createResampler(inputSampleRate, outputSampleRate)
  const whole = [resampler.push(samples), resampler.end()]
  resampler.close()
  return Int16Array.from(whole.flatMap((part) => [...part]))
}

async function decode(chunks: readonly Int16Array[]): Promise<Int16Array[]> {
  const decoder = await createDecoder({ type: 'audio/pcm', rate: outputSampleRate })
  const heard = chunks.map((chunk) => decoder.decode(Buffer.from(chunk.buffer)))
  decoder.close()
  return heard
}

async function listen(activity: VoiceActivity, heard: readonly Int16Array[]) {
  const found = { paused: [] as number[], ended: [] as number[], sustained: [] as number[] }
  const hearing = activity.open()
  const settings = { threshold: 0.5, prefixMs: 300, silenceMs }
  const counting = createTurns(settings)
  const whole = Int16Array.from(heard.flatMap((part) => [...part]))
  let paused = 0
  for (let at = 0; at + frameSamples <= whole.length; at += frameSamples) {
    const frame = Float32Array.from(whole.subarray(at, at + frameSamples), (sample) => sample / 32_768)
    const end = at + frameSamples
    for (const { kind } of counting.hear(await hearing.hear(frame)))
      if (kind === 'paused') paused = end
      else if (kind === 'sustained') {
        if (found.ended.length > 0) found.sustained.push(end)
        counting.configure(settings)
      } else if (kind === 'ended') {
        found.paused.push(paused)
        found.ended.push(end)
        // Over an answer the gateway wants to be surer.
        if (interrupts) counting.configure({ ...settings, threshold: 0.7 })
      }
  }
  if (found.ended.length !== turns)
    throw new Error(`the model hears ${found.ended.length} turns where ${turns} are spoken`)
  return found
}

async function talk({ chunks, ends, ...planned }: Plan, begin: Promise<number>) {
  const sounds: Seen['sessions'][number]['sounds'] = []
  const hushes: number[] = []
  const failures: string[] = []
  const left = new Float64Array(chunks.length)
  const protocols = { ours: [subprotocol], openai: ['realtime'], samples: [] }[protocol]
  const socket = new WebSocket(url, protocols, {
    perMessageDeflate: false,
    ...(ca !== undefined && { ca: readFileSync(ca) }),
  })
  let received = 0
  let answering: string | undefined
  let item = ''
  let began = 0
  let soundMs = 0
  let lastSound = 0
  const send = (event: ClientEventInput): void => socket.send(JSON.stringify(event))
  const sounded = (bytes: number): void => {
    const at = now()
    if (answering !== undefined || (protocol === 'samples' && at - lastSound > 300)) {
      sounds.push({ turn: answering ?? '', at })
      answering = undefined
      began = at
    }
    lastSound = at
    soundMs += bytes / 2 / (outputSampleRate / 1000)
  }
  socket.on('close', (code) => failures.push(`closed with ${code}`))
  socket.on('message', (data: Buffer, isBinary) => {
    if (protocol === 'samples') return sounded(data.length)
    if (isBinary) {
      received += 1
      return sounded(data.length - 8)
    }
    const event = serverEvent.parse(JSON.parse(data.toString()))
    if (event.type === 'x.ack') return
    received += 1
    if (event.type === 'response.output_audio_transcript.delta')
      answering = /turn \d+ at \d+/.exec(event.delta ?? '')?.[0] ?? answering
    else if (event.type === 'response.output_audio.delta') sounded(((event.delta ?? '').length * 3) / 4)
    else if (event.type === 'x.hush') hushes.push(now())
    else if (event.type === 'error') failures.push(data.toString())
    else if (event.type === 'response.content_part.added') {
      item = event.item_id ?? ''
      soundMs = 0
    } else if (event.type === 'response.output_audio.done' && protocol === 'ours' && !interrupts)
      send({ type: 'x.playback', item_id: item, played_ms: soundMs })
  })
  await once(socket, 'open')
  if (protocol !== 'samples')
    send({
      type: 'session.update',
      session: {
        ...(interrupts && { instructions: 'Answer at length.' }),
        audio: { input: { turn_detection: { type: 'server_vad', silence_duration_ms: silenceMs } } },
      },
    })
  const beat = setInterval(() => {
    if (protocol === 'ours') send({ type: 'x.ack', received })
  }, 1_000)
  const played = setInterval(() => {
    if (protocol === 'ours' && interrupts && item !== '')
      send({ type: 'x.playback', item_id: item, played_ms: Math.min(now() - began, soundMs) })
  }, 250)
  const first = await begin
  for (const [index, chunk] of chunks.entries()) {
    const wait = first + index * chunkMs - now()
    if (wait > 0) await new Promise((settle) => setTimeout(settle, wait))
    if (protocol === 'ours')
      socket.send(encodeFrame({ stream: 0, offset: index * chunkMs * perMs, samples: chunk }))
    else if (protocol === 'samples') socket.send(chunk)
    else send({ type: 'input_audio_buffer.append', audio: Buffer.from(chunk.buffer).toString('base64') })
    left[index] = now()
  }
  clearInterval(beat)
  clearInterval(played)
  socket.removeAllListeners('close')
  socket.close(1000)
  const leftAt = (sample: number): number => left[ends.findIndex((end) => end >= sample)] ?? NaN
  const whole = planned.spoken.map((end, index) => ({
    spoken: leftAt(end),
    paused: leftAt(planned.paused[index] ?? NaN),
    ended: leftAt(planned.ended[index] ?? NaN),
    ...(index > 0 && interrupts && { sustained: leftAt(planned.sustained[index - 1] ?? NaN) }),
  }))
  return { turns: whole, sounds, hushes, failures }
}

const serverEvent = z.object({
  type: z.string(),
  delta: z.string().optional(),
  item_id: z.string().optional(),
})

const activity = await loadVoiceActivity()
const plans: Plan[] = []
for (let session = 0; session < sessions; session += 1) plans.push(await plan(session, activity))
await activity.close()
const { promise: begun, resolve: go } = Promise.withResolvers<number>()
const longest = Math.max(...plans.map(({ chunks }) => (chunks.length * chunkMs) / turns))
const talks = plans.map((one, session) =>
  talk(
    one,
    begun.then((start) => start + (session * longest) / sessions),
  ),
)
// All have their connection, and the gateway has done with opening them.
await new Promise((settle) => setTimeout(settle, 1_000 + sessions * 20))
const delay = monitorEventLoopDelay({ resolution: 10 })
delay.enable()
process.stdout.write('{}\n')
go(now() + 100)
const result: Seen = {
  sessions: await Promise.all(talks),
  talkedSeconds: plans.reduce((sum, { samples }) => sum + samples.length / inputSampleRate, 0),
  delayP99: delay.percentile(99) / 1e6 - 10,
}
process.stdout.write(`${JSON.stringify(result)}\n`)
process.exit(0)
