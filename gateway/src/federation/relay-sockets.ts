/** The relay's WebSockets: who may open one, whether the other side is still there, and whether it keeps up. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type RawData, type WebSocket } from 'ws'
import { ownDialect, statusOf } from '#api/envelope.ts'
import { identify, type Identity } from '#identity/identify.ts'
import { normal } from '#identity/directory.ts'
import { checkOrigin, type OwnNames } from '#listener/origin.ts'
import { refuseUpgrade } from '#listener/refuse-upgrade.ts'
import { asFailure, Failure } from '../failure.ts'
import type { Relay } from './relay.ts'

export interface RelaySocketsDeps {
  readonly identity: Identity
  names(): OwnNames
  readonly relay: Pick<Relay, 'open'>
  /** Between two pings, ms. */
  readonly pingEveryMs?: number
}

export interface RelaySockets {
  /** Handles the `upgrade` event of the overlay's server, for `/gateway`. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** The same for those from elsewhere, who are known by their secret alone. */
  upgradeOutside(request: IncomingMessage, socket: Duplex, head: Buffer): void
  close(): void
}

/** What is larger than a frame may be is told so; what is much larger is cut. */
const maxPayload = 64 * 1024
/** What waits for one that reads slowly: the list of a thousand meshes has its place in it. */
const maxBuffered = 1024 * 1024
const maxConnections = 4_096
const defaultPingEveryMs = 5_000
const silentPings = 3
/** One that was told to go is not waited for. */
const farewellMs = 2_000

export function createRelaySockets({
  identity,
  names,
  relay,
  pingEveryMs = defaultPingEveryMs,
}: RelaySocketsDeps): RelaySockets {
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload,
    clientTracking: true,
  })
  const accept = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    if (server.clients.size >= maxConnections) return refuseUpgrade(socket, 503)
    server.handleUpgrade(request, socket, head, (accepted) =>
      serve(accepted, relay, normal(request.socket.remoteAddress ?? ''), pingEveryMs),
    )
  }
  return {
    upgrade(request, socket, head) {
      socket.on('error', () => socket.destroy())
      checkPlace(identity, names(), request).then(
        () => accept(request, socket, head),
        (error: unknown) => {
          const failure = asFailure(error)
          const status = statusOf(failure)
          refuseUpgrade(socket, status, ownDialect.error(failure, status, ''))
        },
      )
    },
    upgradeOutside(request, socket, head) {
      socket.on('error', () => socket.destroy())
      if (request.headers.origin === undefined) accept(request, socket, head)
      else refuseUpgrade(socket, 403)
    },
    close() {
      for (const socket of server.clients) socket.terminate()
      server.close()
    },
  }
}

/** Throws a `Failure` for one that is no device of ours, or a page elsewhere. */
async function checkPlace(identity: Identity, names: OwnNames, { headers, socket }: IncomingMessage) {
  const verdict = checkOrigin(names, headers.host, headers.origin)
  if (!verdict.allow) throw new Failure(verdict.code, verdict.message)
  const found = await identify(identity, socket.remoteAddress, headers)
  if (found.kind === 'guest')
    throw new Failure('forbidden', 'A one-time link lets a device enrol, and nothing else.')
}

function serve(socket: WebSocket, relay: Pick<Relay, 'open'>, address: string, pingEveryMs: number): void {
  let silent = 0
  const alive = (): void => {
    silent = 0
  }
  const port = relay.open(
    {
      send(frame) {
        if (socket.readyState !== socket.OPEN) return
        if (socket.bufferedAmount > maxBuffered) socket.terminate()
        else socket.send(frame)
      },
      close() {
        socket.close()
        setTimeout(() => socket.terminate(), farewellMs).unref()
      },
    },
    address,
  )
  socket.on('message', (data: RawData) => {
    alive()
    if (data instanceof Buffer) port.receive(data.toString())
  })
  socket.on('pong', alive)
  socket.on('ping', alive)
  socket.on('error', () => socket.terminate())
  const pings = setInterval(() => {
    silent += 1
    if (silent > silentPings) socket.terminate()
    else if (socket.readyState === socket.OPEN) socket.ping()
  }, pingEveryMs)
  socket.once('close', () => {
    clearInterval(pings)
    port.gone()
  })
}
