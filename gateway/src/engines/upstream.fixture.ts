/** Upstreams for tests: real HTTP servers on loopback whose answers the test writes itself. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

export interface Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly body: Buffer
  /** `GET /api/tags` */
  readonly route: string
}

export interface Served {
  readonly url: string
  readonly port: number
  close(): Promise<void>
}

export async function serve(
  answer: (call: Call) => unknown,
  port = 0,
): Promise<Served & { readonly calls: Call[] }> {
  const calls: Call[] = []
  const server = createServer((request, response) => {
    void readAll(request).then((body) => {
      const call = { request, response, body, route: `${request.method} ${request.url}` }
      calls.push(call)
      return answer(call)
    })
  })
  await new Promise<void>((settle) => {
    server.listen(port, '127.0.0.1', settle)
  })
  const address = server.address()
  const bound = typeof address === 'object' && address ? address.port : 0
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    calls,
    close: () =>
      new Promise((settle) => {
        server.close(() => settle())
        server.closeAllConnections()
      }),
  }
}

export interface FakeOllama extends Served {
  /** Calls that asked for an answer, in order; probes and warming are left out. */
  readonly calls: Call[]
  /** What `/api/tags` lists from now on. */
  list(models: readonly object[]): void
}

/** What Ollama says of itself, and answers as the test writes them. */
export async function serveOllama(
  answer: (call: Call) => unknown = ({ response }) => response.end(),
  {
    models = [{ name: 'tiny:latest' }],
    shown = {},
    port = 0,
  }: {
    models?: readonly object[]
    /** What `/api/show` tells, by name. */
    shown?: Readonly<Record<string, object>>
    port?: number
  } = {},
): Promise<FakeOllama> {
  let listed = models
  const calls: Call[] = []
  const served = await serve((call) => {
    if (call.route === 'GET /api/version') return json(call.response, 200, { version: '0.33.0' })
    if (call.route === 'GET /api/tags') return json(call.response, 200, { models: listed })
    if (call.route === 'POST /api/show') {
      const { model } = JSON.parse(call.body.toString()) as { model: string }
      const found = shown[model]
      return json(call.response, found ? 200 : 404, found ?? { error: `model '${model}' not found` })
    }
    if (call.route === 'GET /api/ps') return json(call.response, 200, { models: [] })
    // A request without a prompt loads the model.
    if (call.route === 'POST /api/generate' && !('prompt' in JSON.parse(call.body.toString())))
      return json(call.response, 200, { done: true, done_reason: 'load' })
    calls.push(call)
    return answer(call)
  }, port)
  return {
    ...served,
    calls,
    list(next) {
      listed = next
    },
  }
}

/** whisper.cpp's server as it was run: its errors are plain text. Text begins with a space, ends with a newline. */
export function serveWhisperCpp(hear: (call: Call) => unknown, { port = 0 } = {}) {
  return serve((call) => {
    const { response, route, request, body } = call
    if (route === 'GET /health') return json(response, 200, { status: 'ok' })
    if (route !== 'POST /inference')
      return response.writeHead(404, { 'content-type': 'text/plain' }).end(`File Not Found (${request.url})`)
    if (!body.includes('RIFF'))
      return response.writeHead(400, { 'content-type': 'text/plain' }).end('Invalid request')
    return hear(call)
  }, port)
}

export function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body))
}

/** Begins a stream of one JSON object a line. */
export function ndjson(response: ServerResponse): (line: object) => void {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  return (line) => response.write(`${JSON.stringify(line)}\n`)
}

/** Resolves when the other end has gone before the answer was whole. */
export function left(response: ServerResponse): Promise<void> {
  return new Promise((settle) => {
    response.once('close', () => settle())
  })
}

/** An address on which nothing listens: it was bound a moment ago. */
export async function deadUrl(): Promise<string> {
  const served = await serve(() => {})
  await served.close()
  return served.url
}

export const silentLog = { info() {}, warn() {}, error() {} }

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}
