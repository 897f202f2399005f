/**
 * An engine that answers at once, as a process of its own: `whisper`, `ollama` or `speech`, by the protocols that
 * the gateway speaks and by OpenAI's, which its peers do. It takes down when it was asked and when it answered,
 * and tells at `/moments`. It listens on loopback and prints its port.
 *
 * What Whisper hears says whose recording it was and how far it went; the answer says it again, and so does its
 * speech: each request of each turn can be told from all others.
 */
import { Agent, createServer, request as ask, type ServerResponse } from 'node:http'
import { now } from './clock.ts'
import { readMark } from './mark.ts'

const [, , kind = ''] = process.argv
/** Of each turn, by what it is called. */
const moments: { readonly turn: string; readonly asked: number; readonly answered: number }[] = []
const turnIn = (text: string): string => [...text.matchAll(/turn \d+ at \d+/g)].at(-1)?.[0] ?? ''

const told: Readonly<Record<string, string>> = {
  '/health': '{"status":"ok"}',
  '/api/version': '{"version":"0.33.0"}',
  '/api/tags': '{"models":[{"name":"bench:latest"}]}',
  '/api/ps': '{"models":[{"name":"bench:latest"}]}',
  '/api/generate': '{"done":true}',
  '/awake': '{}',
}
const answers: Readonly<
  Record<string, (body: Buffer, asked: number, response: ServerResponse, path: string) => void>
> = { whisper: hear, ollama: write, speech: speak }

const server = createServer((request, response) => {
  const path = request.url ?? ''
  const known = told[path]
  if (path === '/moments') {
    request.resume()
    response.end(JSON.stringify(moments.splice(0)))
    return
  }
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => parts.push(part))
  request.on('end', () => {
    const asked = now()
    if (known === undefined) answers[kind]?.(Buffer.concat(parts), asked, response, path)
    else response.end(known)
  })
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  process.stdout.write(`${port}\n`)
  // One that rests for seconds takes a millisecond to hear a request at all: that is no share of a gateway's.
  const agent = new Agent({ keepAlive: true })
  setInterval(() => {
    const path = '/awake'
    ask({ host: '127.0.0.1', port, path, method: 'POST', agent }, (answer) => answer.resume()).end(recording)
  }, 20)
})
const recording = Buffer.alloc(64 * 1024)

let unmarked = 0

function hear(body: Buffer, asked: number, response: ServerResponse): void {
  const at = body.indexOf('RIFF')
  if (at === -1) return void response.writeHead(400).end()
  const header = 44
  const bytes = body.subarray(at + header, at + 8 + body.readUInt32LE(at + 4))
  const samples = new Int16Array(bytes.length >> 1)
  new Uint8Array(samples.buffer).set(bytes.subarray(0, samples.byteLength))
  unmarked += 1
  const { session, end } = readMark(samples) ?? { session: 0, end: unmarked }
  const turn = `turn ${session} at ${end}`
  response.setHeader('content-type', 'application/json')
  moments.push({ turn, asked, answered: now() })
  response.end(JSON.stringify({ text: ` I say ${turn}.\n` }))
}

function write(body: Buffer, asked: number, response: ServerResponse, path: string): void {
  const text = body.toString()
  const turn = turnIn(text)
  const size = text.includes('at length') ? 'long' : 'short'
  // Its first clause is whole when the space after its comma is there.
  const clause = [`A ${size}`, ' answer', ' to', ` ${turn}`, ',']
  const rest = ' and then a few more words of it which come as a voice begins to speak.'.split(/(?= )/)
  const openAi = path.startsWith('/v1/')
  response.setHeader('content-type', openAi ? 'text/event-stream' : 'application/x-ndjson')
  const say = (content: string): void => void response.write(openAi ? chunk(content) : piece(content, false))
  for (const word of clause) say(word)
  moments.push({ turn, asked, answered: now() })
  for (const word of rest) say(word)
  response.end(openAi ? `${chunk('', 'stop')}data: [DONE]\n\n` : piece('', true))
}

function piece(content: string, done: boolean): string {
  const counted = done ? { done_reason: 'stop', prompt_eval_count: 20, eval_count: 20 } : {}
  return `${JSON.stringify({ model: 'bench:latest', created_at: '2026-01-01T00:00:00Z', message: { role: 'assistant', content }, done, ...counted })}\n`
}

function chunk(content: string, finish: string | null = null): string {
  const choices = [{ index: 0, delta: { role: 'assistant', content }, finish_reason: finish }]
  return `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'bench', choices })}\n\n`
}

/** 100 ms at 24 kHz. */
const pieceBytes = 4_800
const sound = Buffer.alloc(pieceBytes, Buffer.from([0, 4, 0, 252]))

function speak(body: Buffer, asked: number, response: ServerResponse): void {
  const text = body.toString()
  response.setHeader('content-type', 'audio/pcm')
  const turn = turnIn(text)
  if (turn !== '') moments.push({ turn, asked, answered: now() })
  response.write(sound)
  let left = turn !== '' && text.includes('long') ? 120 : 2
  const go = (): void => {
    for (; left > 0; left -= 1) if (!response.write(sound)) return void response.once('drain', go)
    response.end()
  }
  setImmediate(go)
}
