/**
 * A fast upstream for the gateway's bench, that says it is an Ollama with one model: streams at full speed, a
 * write for each piece, or slowly, by what the prompt asks for. It listens on loopback and prints its port.
 */
import { createServer, type ServerResponse } from 'node:http'

const pieces = Number(process.argv[2] ?? 200_000)
const chunk = Buffer.from(
  `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'bench', system_fingerprint: 'fp_ollama', choices: [{ index: 0, delta: { role: 'assistant', content: ' word' }, finish_reason: null }] })}\n\n`,
)
const last = Buffer.from(
  `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'bench', choices: [], usage: { prompt_tokens: 9, completion_tokens: pieces, total_tokens: 9 + pieces } })}\n\ndata: [DONE]\n\n`,
)

const told: Readonly<Record<string, string>> = {
  '/api/version': '{"version":"0.33.0"}',
  '/api/tags': '{"models":[{"name":"bench:latest"}]}',
  '/api/ps': '{"models":[]}',
  '/v1/embeddings':
    '{"object":"list","data":[],"model":"bench","usage":{"prompt_tokens":1,"total_tokens":1}}',
}

const server = createServer((request, response) => {
  const known = told[request.url ?? '']
  if (known !== undefined) {
    request.resume()
    response.writeHead(200, { 'content-type': 'application/json' }).end(known)
    return
  }
  let body = ''
  request.on('data', (part: Buffer) => {
    body += part.toString()
  })
  request.on('end', () => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    if (body.includes('slowly')) slowly(response)
    else fast(response, pieces)
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.stdout.write(`${typeof address === 'object' ? address?.port : ''}\n`)
})

/** Each piece by a write of its own to the socket: Node would gather those of one turn of its loop. */
function fast(response: ServerResponse, left: number): void {
  response.write(chunk)
  const { socket } = response
  if (!socket) return
  const framed = Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')])
  const go = (from: number): void => {
    for (let count = from; count > 1; count -= 1)
      if (!socket.write(framed)) return void socket.once('drain', () => go(count - 1))
    response.end(last)
  }
  setImmediate(() => go(left))
}

/** A piece each 100 ms, until the client leaves. */
function slowly(response: ServerResponse): void {
  const timer = setInterval(() => response.write(chunk), 100)
  response.write(chunk)
  response.once('close', () => clearInterval(timer))
}
