/**
 * Programs, lenders and an admin who use a gateway all the time, as a process of its own. Reads what it is to do as
 * JSON from its first argument; prints a line of JSON a second, until it is ended.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { setDefaultCACertificates } from 'node:tls'
import { inspect } from 'node:util'
import { wavHeader } from '@sotto/gateway/engines/wav.ts'
import { inputSampleRate, subprotocol } from '@sotto/gateway/protocol/frame.ts'
import { readHardware } from '@sotto/gateway/tunnel/hardware.ts'
import { lend } from '@sotto/gateway/tunnel/lender.ts'
import { WebSocket } from 'ws'
import { wish, type Told } from './wish.ts'

/** Who asks, rests and asks again. */
const programs = 8
const restMs = 60
const visitEveryMs = 2_000
const model = 'stand-in:latest'

const { origin, ca, lendKey, lent, ollama } = wish.parse(JSON.parse(process.argv[2] ?? ''))
const messages = [{ role: 'user', content: 'Say in a few words what a quiet voice is good for.' }]
const json = { 'content-type': 'application/json' }
const hardware = await readHardware()
const authority = readFileSync(ca, 'utf8')
setDefaultCACertificates([authority])
const asLender = { authorization: `Bearer ${lendKey}` }

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const answer = await fetch(origin + path, { signal: AbortSignal.timeout(30_000), ...init })
  if (answer.ok) return answer
  throw new Error(`${path} is answered with ${answer.status}: ${(await answer.text()).slice(0, 300)}`)
}

const post = (path: string, body: object, headers: Record<string, string> = {}): Promise<Response> =>
  ask(path, { method: 'POST', body: JSON.stringify(body), headers: { ...json, ...headers } })

/** Throws where an answer ends without its end. */
async function whole(answer: Promise<Response>, end = ''): Promise<void> {
  const text = await (await answer).text()
  if (!text.includes(end)) throw new Error(`an answer ends in “${text.slice(-200)}”`)
}

async function refused(answer: Promise<Response>, status: number): Promise<void> {
  const said = await answer.then(
    () => 'taken',
    (error: unknown) => String(error),
  )
  if (!said.includes(`answered with ${status}`)) throw new Error(`not refused with ${status}: ${said}`)
}

/** Leaves in the middle of an answer. */
async function leave(): Promise<void> {
  const control = new AbortController()
  const answer = await ask('/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify({ model, stream: true, messages }),
    headers: json,
    signal: control.signal,
  })
  await answer.body?.getReader().read()
  control.abort()
}

/** Two seconds of silence. */
const recording = Buffer.concat([wavHeader(inputSampleRate, 64_000), Buffer.alloc(64_000)])
const sound = (): FormData => {
  const form = new FormData()
  form.set('file', new Blob([recording]), 'x.wav')
  form.set('model', 'whisper-1')
  return form
}

const chat = { model, messages }
const kinds: Readonly<Record<string, () => Promise<void>>> = {
  'OpenAI, a stream': () => whole(post('/v1/chat/completions', { ...chat, stream: true }), 'data: [DONE]'),
  'OpenAI, whole': () => whole(post('/v1/chat/completions', chat), '"usage"'),
  'OpenAI, responses': () => whole(post('/v1/responses', { model, input: 'Hello.' })),
  'Ollama, a stream': () => whole(post('/api/chat', chat), '"done":true'),
  'Anthropic, a stream': () =>
    whole(post('/v1/messages', { ...chat, max_tokens: 64, stream: true }), 'message_stop'),
  embeddings: () => whole(post('/v1/embeddings', { model, input: 'Hello.' })),
  speech: () => whole(post('/v1/audio/speech', { model: 'tts-1', input: 'Hello.', response_format: 'pcm' })),
  transcription: () => whole(ask('/v1/audio/transcriptions', { method: 'POST', body: sound() }), 'text'),
  'left in the middle': leave,
  'a stream through a tunnel': () =>
    whole(post(`${lent}/v1/chat/completions`, { ...chat, stream: true }, asLender), 'data: [DONE]'),
  'a service through a tunnel': () => whole(ask(`${lent}/services/engine/health`, { headers: asLender })),
  'refused: no such model': () =>
    refused(post('/v1/chat/completions', { ...chat, model: `none-${Math.random()}` }), 404),
  'refused: no such key': () =>
    refused(post('/api/chat', chat, { authorization: `Bearer sk-sotto-${Math.random()}` }), 401),
  'refused: not JSON': () => refused(ask('/api/chat', { method: 'POST', body: '{' }), 400),
  ...Object.fromEntries(
    [
      '/v1/models',
      '/metrics',
      '/health',
      '/openapi.json',
      '/sotto/me',
      '/sotto/conversations',
      '/sotto/conversations?search=turn',
      '/sotto/admin/overview',
      '/sotto/admin/usage',
      '/sotto/admin/audit?limit=100',
      '/sotto/admin/lenders',
      '/sotto/admin/limits',
      '/sotto/admin/services',
      '/sotto/devices',
      '/',
    ].map((path) => [path, () => whole(ask(path))]),
  ),
}

let now: Told = { answered: {}, errors: [] }

async function count(kind: string, task: () => Promise<void>): Promise<void> {
  try {
    await task()
    now.answered[kind] = (now.answered[kind] ?? 0) + 1
  } catch (error) {
    now.errors.push(`${kind}: ${inspect(error, { depth: 1, breakLength: Infinity })}`)
  }
}

async function program(first: number): Promise<never> {
  const all = Object.entries(kinds)
  for (let at = first; ; at += 1) {
    const [kind, task] = all[at % all.length] ?? []
    if (kind !== undefined && task) await count(kind, task)
    await pause(restMs)
  }
}

/** Opens a session of voice and leaves it: with a farewell, or as a phone does that is out of reach. */
async function look(farewell: boolean): Promise<void> {
  const socket = new WebSocket(`${origin.replace('https', 'wss')}/v1/realtime`, [subprotocol])
  await once(socket, 'message')
  if (farewell) socket.close(1000)
  else socket.terminate()
}

/** A lender that comes, is asked once, and goes. */
async function lendOnce(number: number): Promise<void> {
  const name = `visitor-${number % 3}`
  const lender = lend({
    to: origin,
    key: lendKey,
    name,
    ca: authority,
    lending: { ollama, services: [] },
    offer: { version: '1', ollama: true, whisper: false, services: [], parallel: 4, hardware },
    changed() {},
  })
  try {
    await lender.connected
    const path = lent.replace(/[^/]+$/, name)
    // The gateway asks what it lends first, and then it is there.
    const there = (): Promise<boolean> =>
      ask(`${path}/v1/models`, { headers: asLender }).then(
        async (answer) => (await answer.text()).includes(model.replace(':latest', '')),
        () => false,
      )
    for (let tries = 0; tries < 100 && !(await there()); tries += 1) await pause(50)
    await whole(post(`${path}/v1/chat/completions`, { ...chat, stream: true }, asLender), 'data: [DONE]')
  } finally {
    await lender.close()
  }
}

async function visitors(): Promise<never> {
  for (let number = 0; ; number += 1) {
    await count('sessions that are opened and left', () => look(number % 2 === 0))
    await count('lenders that come and go', () => lendOnce(number))
    await pause(visitEveryMs)
  }
}

setInterval(() => {
  process.stdout.write(`${JSON.stringify(now)}\n`)
  now = { answered: {}, errors: [] }
}, 1_000)
await Promise.all([visitors(), ...Array.from({ length: programs }, (_, number) => program(number * 3))])
