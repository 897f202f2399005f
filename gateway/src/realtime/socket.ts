/** The way into `/v1/realtime`: who may open a socket, and which protocol it speaks. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import { WebSocketServer } from 'ws'
import type { Engines } from '#engines/engine.ts'
import type { Directory } from '#identity/directory.ts'
import { checkOrigin, type OwnNames } from '#listener/origin.ts'
import { maxFrameSamples, subprotocol } from '#protocol/frame.ts'
import { openSession } from './session.ts'

export interface RealtimeDeps {
  readonly directory: Directory
  readonly engines: Engines
  names(): OwnNames
  readonly log: Logger
}

/** Room for the longest text a session takes; past it `ws` closes with 1009. */
const maxPayloadBytes = Math.max(1_048_576, maxFrameSamples * 2 + 8)

/** Handles the `upgrade` event of the server. */
export function createUpgrade(
  deps: RealtimeDeps,
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const sockets = new WebSocketServer({
    noServer: true,
    // Audio does not deflate, and each deflater costs some 300 KB.
    perMessageDeflate: false,
    maxPayload: maxPayloadBytes,
    handleProtocols: () => subprotocol,
  })
  return (request, socket, head) => {
    const { remoteAddress } = request.socket
    const verdict = checkOrigin(deps.names(), request.headers.host, request.headers.origin)
    const caller = deps.directory.identify(remoteAddress)
    if (!verdict.allow) return refuse(socket, verdict.status, verdict.message)
    if (!caller || caller.kind === 'guest')
      return refuse(socket, 403, 'This address is no device of this network.')
    if (request.url?.split('?')[0] !== '/v1/realtime')
      return refuse(socket, 404, 'The WebSocket is at /v1/realtime.')
    if (!offers(request).includes(subprotocol))
      return refuse(socket, 400, `Offer the WebSocket subprotocol ${subprotocol}.`)
    sockets.handleUpgrade(request, socket, head, (opened) =>
      openSession({ socket: opened, caller, engines: deps.engines, log: deps.log }),
    )
  }
}

const reasons = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  421: 'Misdirected Request',
} as const

function refuse(socket: Duplex, status: keyof typeof reasons, message: string): void {
  const body = JSON.stringify({ error: { type: 'invalid_request_error', message, param: null, code: null } })
  socket.end(
    `HTTP/1.1 ${status} ${reasons[status]}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

function offers(request: IncomingMessage): string[] {
  return (request.headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim())
}
