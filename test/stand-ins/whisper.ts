/**
 * Stands in for whisper.cpp's server, whose weights can't be had here, and truly listens: pocketsphinx
 * decodes the audio that it is sent, over a grammar of four sentences, behind the same HTTP interface.
 * Shapes and errors: whisper.cpp v1.9.3, `examples/server/server.cpp`, as run.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { announcePort } from './announce.ts'
import { sentences } from './speech.ts'

const grammar = `#JSGF V1.0;\ngrammar sentences;\npublic <sentence> = ${sentences.join(' | ')};\n`

/** whisper.cpp has one mutex: one request is served after another. */
let turn: Promise<unknown> = Promise.resolve()

const server = createServer((request, response) => {
  const path = request.url?.split('?')[0] ?? ''
  if (request.method === 'GET' && path === '/health')
    return send(response, 200, 'application/json', '{"status":"ok"}')
  if (request.method === 'POST' && path === '/inference') {
    turn = turn
      .then(() => infer(request, response))
      .catch(() => send(response, 400, 'text/plain', 'Invalid request'))
    return
  }
  send(response, 404, 'text/plain', `File Not Found (${path})`)
})
announcePort(server)

async function infer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const form = await readForm(request)
  const file = form.get('file')
  if (!(file instanceof File)) throw new TypeError('no file')
  const text = await listen(new Uint8Array(await file.arrayBuffer()))
  // The real one ends each segment with a newline and begins it with a space.
  const said = text === '' ? '' : ` ${text}\n`
  if (form.get('response_format') === 'text') send(response, 200, 'text/html; charset=utf-8', said)
  else send(response, 200, 'application/json', JSON.stringify({ text: said }))
}

async function readForm(request: IncomingMessage): Promise<FormData> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  const type = request.headers['content-type'] ?? ''
  return new Response(new Uint8Array(Buffer.concat(chunks)), { headers: { 'content-type': type } }).formData()
}

async function listen(wav: Uint8Array): Promise<string> {
  if (Buffer.from(wav.subarray(0, 4)).toString() !== 'RIFF') throw new TypeError('no audio')
  const folder = await mkdtemp(join(tmpdir(), 'whisper-stand-in-'))
  try {
    await writeFile(join(folder, 'turn.wav'), wav)
    await writeFile(join(folder, 'sentences.jsgf'), grammar)
    await execa({ cwd: folder })`sox -V1 turn.wav level.wav norm -10`
    // With the silence first: cutting it away loses a soft first word, and leaving it loses a loud one.
    return (await decode(folder, 'no')) || (await decode(folder, 'yes'))
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function decode(cwd: string, removeSilence: 'yes' | 'no'): Promise<string> {
  const { stdout } = await execa({
    cwd,
  })`pocketsphinx_continuous -infile level.wav -jsgf sentences.jsgf -remove_silence ${removeSilence} -logfn log`
  return stdout.trim().replaceAll(/\s+/g, ' ')
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type }).end(body)
}
