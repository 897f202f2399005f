/** Dials a gateway's end of a tunnel, whoever of the two asks over it then. */
import type { IncomingMessage } from 'node:http'
import { WebSocket } from 'ws'
import { tunnelProtocol } from './frame.ts'
import { openLink, socketOptions, type Link, type LinkOptions } from './link.ts'

export interface DialOptions extends LinkOptions {
  /** `wss:`, or `ws:` to this machine. */
  readonly url: URL
  /** Sent as a bearer. */
  readonly key: string
  /** PEM: the one authority that is trusted; left out, those of this machine. */
  readonly ca?: string | undefined
}

/** The gateway answered the handshake, and not with a tunnel. */
export class Refused extends Error {
  readonly status: number
  /** The beginning of its answer. */
  readonly body: string

  constructor(status: number, body: string) {
    super(`The gateway answered ${status}.`)
    this.name = 'Refused'
    this.status = status
    this.body = body
  }
}

const handshakeMs = 15_000
const mostBody = 10_000

/** Rejects with a {@link Refused}, or with what went wrong on the way. */
export function dialTunnel({ url, key, ca, ...options }: DialOptions, signal: AbortSignal): Promise<Link> {
  return new Promise((settle, fail) => {
    const socket = new WebSocket(url, tunnelProtocol, {
      ...socketOptions,
      headers: { authorization: `Bearer ${key}` },
      handshakeTimeout: handshakeMs,
      ...(ca !== undefined && { ca }),
      // Masks keep caches of plain HTTP from harm. Within TLS there are none, and each byte costs.
      generateMask: (mask) => mask.fill(0),
    })
    const stop = (): void => socket.terminate()
    signal.addEventListener('abort', stop, { once: true })
    socket.once('open', () => {
      signal.removeEventListener('abort', stop)
      settle(openLink(socket, options))
    })
    socket.on('error', (error) => {
      signal.removeEventListener('abort', stop)
      fail(error)
    })
    socket.once('unexpected-response', (_request, response: IncomingMessage) => {
      void refusalOf(response)
        .then(fail, fail)
        .finally(() => socket.terminate())
    })
  })
}

async function refusalOf(response: IncomingMessage): Promise<Refused> {
  let text = ''
  for await (const chunk of response) if (text.length < mostBody) text += String(chunk)
  return new Refused(response.statusCode ?? 0, text)
}
