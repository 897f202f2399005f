/** The way into `/v1/realtime`: who may open a socket, and which protocol it speaks. */
import { STATUS_CODES, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import { WebSocketServer } from 'ws'
import type { Engines } from '#engines/engine.ts'
import type { Admission } from '#admission/admission.ts'
import { openAiDialect, statusOf } from '#api/envelope.ts'
import { identify, type Identity } from '#identity/identify.ts'
import { nextRequestId, write, type Recorder } from '#ledger/record.ts'
import { checkOrigin, type OwnNames } from '#listener/origin.ts'
import { maxFrameSamples, subprotocol } from '#protocol/frame.ts'
import { asFailure, Failure } from '../failure.ts'
import { openSession } from './session.ts'

export interface RealtimeDeps {
  readonly identity: Identity
  readonly admission: Admission
  readonly recorder: Recorder
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
  const open = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const verdict = checkOrigin(deps.names(), request.headers.host, request.headers.origin)
    if (!verdict.allow) throw new Failure(verdict.code, verdict.message)
    const caller = await identify(deps.identity, request.socket.remoteAddress, request.headers)
    if (caller.kind === 'guest')
      throw new Failure('forbidden', 'A one-time link lets a device enrol, and nothing else.')
    if (request.url?.split('?')[0] !== '/v1/realtime')
      throw new Failure('not_found', 'The WebSocket is at /v1/realtime.')
    if (!offers(request).includes(subprotocol))
      throw new Failure('invalid', `Offer the WebSocket subprotocol ${subprotocol}.`)
    // Whether it may talk at all; each answer is admitted by itself.
    const permit = await deps.admission.admit(caller, { service: 'realtime' })
    sockets.handleUpgrade(request, socket, head, (opened) => {
      const forget = deps.recorder.opened({ caller, end: () => opened.terminate() })
      opened.once('close', () => {
        forget()
        permit.settle({ input: 0, output: 0 })
      })
      const { address = '' } = { address: request.socket.remoteAddress }
      openSession({ ...deps, socket: opened, caller, address })
    })
  }
  return (request, socket, head) => {
    const at = Date.now()
    socket.on('error', () => socket.destroy())
    open(request, socket, head).catch((error: unknown) => {
      const failure = asFailure(error)
      if (failure.code === 'internal') deps.log.error({ err: failure.cause }, 'a socket could not be opened')
      const status = statusOf(failure)
      write(
        deps.recorder,
        { id: nextRequestId(), caller: undefined, service: 'realtime', refusal: failure.code },
        {
          at,
          address: request.socket.remoteAddress ?? '',
          method: 'WS',
          path: request.url?.split('?')[0] ?? '/',
          status,
          durationMs: Date.now() - at,
          ended: 'whole',
        },
      )
      refuse(socket, status, openAiDialect.error(failure, status, ''))
    })
  }
}

function refuse(socket: Duplex, status: number, error: object): void {
  const body = JSON.stringify(error)
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

function offers(request: IncomingMessage): string[] {
  return (request.headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim())
}
