/**
 * Stands in for whisper.cpp's server, whose weights can't be had here, and truly listens: pocketsphinx
 * decodes the audio that it is sent, over a grammar of four sentences and of
 * what is none of them, behind the same HTTP interface.
 * Shapes and errors: whisper.cpp v1.9.3, `examples/server/server.cpp`, as run.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { announcePort } from './announce.ts'
import { sentences } from './speech.ts'

const phones =
  'AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z'.split(
    ' ',
  )

/**
 * What is none of the sentences must fit better elsewhere, or the nearest would be heard: any row of phones,
 * each so dear that it loses to a sentence that was truly spoken. Measured over five treatments of each
 * sentence and ten that are none: 1e-17 to 1e-24 tells all of them apart.
 */
const phonePrice = '1e-20'
const isPhone = (word: string): boolean => word.startsWith('phone-')
const grammar = `#JSGF V1.0;
grammar sentences;
public <utterance> = ${sentences.join(' | ')} | /${phonePrice}/ <phone>+;
<phone> = ${phones.map((phone) => `/${phonePrice}/ phone-${phone.toLowerCase()}`).join(' | ')};
`

const dictionary = await readFile('/usr/share/pocketsphinx/model/en-us/cmudict-en-us.dict', 'utf8').then(
  (all) => {
    const words = new Set(sentences.join(' ').split(' '))
    const spoken = all.split('\n').filter((line) => words.has(line.split(/[( ]/, 1)[0] ?? ''))
    return [...spoken, ...phones.map((phone) => `phone-${phone.toLowerCase()} ${phone}`), ''].join('\n')
  },
)

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
    await writeFile(join(folder, 'words.dict'), dictionary)
    // Without dither, which is noise made anew each time: the same audio is always heard the same.
    await execa({ cwd: folder })`sox -V1 -D turn.wav level.wav norm -10`
    // With the silence first: cutting it away loses a soft first word, and leaving it loses a loud one.
    return (await decode(folder, 'no')) || (await decode(folder, 'yes'))
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function decode(cwd: string, removeSilence: 'yes' | 'no'): Promise<string> {
  const { stdout } = await execa({
    cwd,
  })`pocketsphinx_continuous -infile level.wav -jsgf sentences.jsgf -dict words.dict -remove_silence ${removeSilence} -logfn log`
  return stdout
    .trim()
    .split(/\s+/)
    .filter((word) => !isPhone(word))
    .join(' ')
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type }).end(body)
}
