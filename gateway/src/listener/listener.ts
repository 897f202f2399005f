/**
 * TLS on exactly the addresses it is told. A connection is looked at before its handshake: one from an
 * address that is no known caller's is reset, and a caller that loses its place loses its connections.
 */
import { createServer as createHttpServer, type IncomingMessage, type Server as HttpServer } from 'node:http'
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https'
import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { getRequestListener } from '@hono/node-server'
import { Problem } from '@sotto/provisioning/problem.ts'
import type { Hono } from 'hono'
import type { AppEnv } from '#identity/app-env.ts'
import { normal } from '#identity/directory.ts'

export interface Certificate {
  /** Leaf first, then the intermediate; PEM. */
  readonly cert: string
  readonly key: string
}

export interface ListenerOptions {
  readonly addresses: readonly string[]
  /** 0 takes a free one. */
  readonly port: number
  readonly certificate: Certificate
  readonly app: Hono<AppEnv>
  /** For what comes without TLS. */
  readonly plain: Hono<AppEnv>
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** What one address may have open; more are reset. */
  readonly socketsPerAddress?: number
  /** How long a request's head may take, ms; its body gets twenty times that. */
  readonly headMs?: number
  /** Whether a remote address may speak to us at all. */
  admits(remoteAddress: string | undefined): boolean
}

export interface Listener {
  readonly port: number
  /** How many are open. */
  readonly sockets: number
  /** New connections get the new leaf; open ones go on with theirs. */
  renew(certificate: Certificate): void
  /** Ends every connection from an address at once. */
  end(address: string): void
  close(): Promise<void>
}

/** A phone on a bad path needs some seconds; a socket that never speaks must not be kept. */
const handshakeTimeoutMs = 15_000
/** The same of a request. A recording of an hour may take ten minutes on its way. */
const defaultHeadMs = 30_000
/** A browser has six, a busy program some hundred: one that keeps all it can open must not take the memory of the others. */
const defaultSocketsPerAddress = 2_048

const handshakeRecord = 0x16

/** A phone that left without a word is noticed by the kernel's probes, and its sockets end. */
const keepAliveMs = 30_000

/** Listens on every address or throws a `Problem`; never on some of them alone. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const https = secureServer(options)
  const http = plainServer(options)
  const open = new Map<string, Set<Socket>>()
  const most = options.socketsPerAddress ?? defaultSocketsPerAddress
  const accept = (socket: Socket): void => {
    const held = open.get(normal(socket.remoteAddress ?? ''))?.size ?? 0
    if (!options.admits(socket.remoteAddress) || held >= most) {
      socket.resetAndDestroy()
      return
    }
    remember(open, socket)
    tellApart(socket, https, http)
  }
  const servers: Server[] = []
  let { port } = options
  try {
    for (const address of options.addresses) {
      const server = createServer(
        { noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs },
        accept,
      )
      servers.push(server)
      port = await bind(server, address, port)
    }
  } catch (error) {
    await Promise.all(servers.map(close))
    throw error
  }
  return {
    port,
    get sockets() {
      return open.values().reduce((sum, { size }) => sum + size, 0)
    },
    renew: (certificate) => https.setSecureContext(certificate),
    end: (address) => open.get(normal(address))?.forEach((socket) => socket.destroy()),
    async close() {
      const closed = servers.map(close)
      for (const server of [https, http]) server.close()
      for (const sockets of open.values()) for (const socket of sockets) socket.destroy()
      await Promise.all(closed)
    },
  }
}

function secureServer({ app, certificate, upgrade, headMs = defaultHeadMs }: ListenerOptions): HttpsServer {
  const https = createHttpsServer(
    {
      ...certificate,
      minVersion: 'TLSv1.2',
      handshakeTimeout: handshakeTimeoutMs,
      headersTimeout: headMs,
      requestTimeout: 20 * headMs,
      connectionsCheckingInterval: headMs / 4,
    },
    getRequestListener(app.fetch),
  )
  watchSlowness(https)
  https.on('upgrade', upgrade)
  https.on('tlsClientError', (_error, socket) => socket.destroy())
  return https
}

function plainServer({ plain, headMs = defaultHeadMs }: ListenerOptions): HttpServer {
  const options = { headersTimeout: headMs, requestTimeout: headMs, connectionsCheckingInterval: headMs / 4 }
  const http = createHttpServer(options, getRequestListener(plain.fetch))
  watchSlowness(http)
  return http
}

/** Node looks for requests that take too long once its server listens, and these never do: sockets are handed to them. */
function watchSlowness(server: HttpServer | HttpsServer): void {
  server.emit('listening')
}

/** One port for both: a TLS connection begins with a handshake record (RFC 8446 §5.1), HTTP with a letter. */
function tellApart(socket: Socket, https: HttpsServer, http: HttpServer): void {
  const silent = () => socket.destroy()
  socket.setTimeout(handshakeTimeoutMs, silent)
  socket.on('error', silent)
  socket.once('readable', () => {
    const first: unknown = socket.read(1)
    if (!(first instanceof Buffer)) return
    socket.off('error', silent)
    socket.off('timeout', silent)
    socket.setTimeout(0)
    socket.unshift(first)
    ;(first[0] === handshakeRecord ? https : http).emit('connection', socket)
  })
}

function bind(server: Server, host: string, port: number): Promise<number> {
  return new Promise((settle, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => fail(bindProblem(error, host, port)))
    server.listen({ host, port, ipv6Only: true }, () => {
      const address = server.address()
      settle(typeof address === 'object' && address ? address.port : port)
    })
  })
}

function bindProblem(error: NodeJS.ErrnoException, host: string, port: number): Problem {
  if (error.code === 'EADDRINUSE')
    return new Problem(
      'port_taken',
      `Port ${port} on ${host} is taken by another program.`,
      'Stop it, or choose another port with --port N.',
      error,
    )
  if (error.code === 'EACCES')
    return new Problem(
      'port_forbidden',
      `Port ${port} may be used by root alone.`,
      'Choose one from 1024 up with --port N.',
      error,
    )
  return new Problem('address_unusable', `Can't listen on ${host} (${error.code}).`, '', error)
}

function remember(open: Map<string, Set<Socket>>, socket: Socket): void {
  const address = normal(socket.remoteAddress ?? '')
  const sockets = open.get(address) ?? new Set()
  open.set(address, sockets.add(socket))
  socket.once('close', () => {
    sockets.delete(socket)
    if (sockets.size === 0 && open.get(address) === sockets) open.delete(address)
  })
}

function close(server: Server): Promise<void> {
  return new Promise((settle) => {
    server.close(() => settle())
  })
}
