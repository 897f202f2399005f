/** A small HTTP server for a test to speak as an upstream, and what it saw. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface FakeUpstream {
  readonly url: string
  readonly seen: { readonly path: string; readonly body: string }[]
  /** Resolves when the client of a request leaves before its answer is whole. */
  readonly left: Promise<void>
  close(): Promise<void>
}

export type Speak = (path: string, response: ServerResponse, body: string) => void

export async function fakeUpstream(speak: Speak): Promise<FakeUpstream> {
  const seen: { path: string; body: string }[] = []
  const { promise: left, resolve } = Promise.withResolvers<void>()
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    response.once('close', () => {
      if (!response.writableFinished) resolve()
    })
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('latin1')
      // What the gateway asks by itself, at some time or other.
      if (request.url === '/api/show' && body === '{"model":"tiny:latest"}') {
        response.writeHead(404).end()
        return
      }
      seen.push({ path: request.url ?? '', body })
      speak(request.url ?? '', response, body)
    })
  })
  await new Promise<void>((settle) => {
    server.listen(0, '127.0.0.1', settle)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    left,
    close: () =>
      new Promise((settle) => {
        server.close(() => settle())
        server.closeAllConnections()
      }),
  }
}

/** As Ollama answers when it is asked who it is and what it has. */
export function speakOllama(path: string, response: ServerResponse): boolean {
  if (path === '/api/version') response.end('{"version":"0.33.0"}')
  else if (path === '/api/ps') response.end('{"models":[]}')
  else if (path === '/api/tags')
    response.end(
      JSON.stringify({
        models: [
          { name: 'tiny:latest', size: 5 },
          { name: 'big:cloud' },
          { name: 'alias', remote_host: 'https://ollama.com' },
        ],
      }),
    )
  else return false
  return true
}
