/**
 * A listener for lenders that are not on the overlay, and where the config says so for people who sign in and for
 * friends' gateways: it can be open to the world. Whatever is none of these is 404 without a word, and who tries
 * often is not heard.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { hash } from 'node:crypto'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { AuthorityError } from '@sotto/certs/authority-error.ts'
import { loadAuthority, loadOrMakeAuthority } from '@sotto/certs/authority.ts'
import { ensureLeaf, keepLeaf } from '@sotto/certs/leaf.ts'
import { trustedRoots } from '@sotto/certs/rollover.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { networkOf } from '#identity/directory.ts'
import type { Certificate } from '#listener/listener.ts'
import { checkOrigin, ownNames, type OwnNames } from '#listener/origin.ts'
import { refuseUpgrade } from '#listener/refuse-upgrade.ts'
import writeFileAtomic from 'write-file-atomic'
import { tunnelPath } from './protocol.ts'

interface OutsideOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** Under which it is reached. */
  readonly names: readonly string[]
  readonly certificate: Certificate
  readonly visitors: Visitors
  /** PEM, of the authority that vouches for it. */
  roots(): Promise<readonly string[]>
}

type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

/** Who may come from anywhere. */
export interface Visitors {
  /** With a key, which is looked at. */
  tunnel: Upgrade
  /** Meshes, at the relay's path; left out, there is no relay here. */
  readonly relay?: {
    readonly path: string
    upgrade: Upgrade
    /** Those of its meshes that share models. */
    readonly friends: { readonly path: string; upgrade: Upgrade }
    /** Its HTTP: false for what is not its own. */
    answer(
      request: IncomingMessage,
      response: ServerResponse,
      roots: () => Promise<readonly string[]>,
    ): boolean
  }
  /** What people may ask for; left out, nobody signs in here. */
  readonly pages?: Pages
}

export interface Pages {
  /** In points of {@link pointsPerMinute}; undefined for what is not served. */
  cost(path: string): number | undefined
  serve(request: IncomingMessage, response: ServerResponse): void
}

export interface Outside {
  readonly port: number
  renew(certificate: Certificate): void
  close(): Promise<void>
}

/** A lender that lost its path comes again a few times a minute; who comes more often is none. */
const attemptsPerMinute = 30
/** A page is some forty files, and asks some twenty times a minute; each other question leaves a row. */
const pointsPerMinute = 360
/** Lenders, and those that try to be some. */
const maxConnections = 512
const handshakeMs = 10_000

/**
 * Listens with a certificate of its own, which is kept fresh: the overlay's authority may sign for the overlay
 * alone. Lenders are given `tunnel.crt`.
 *
 * @param certs directory of the authorities
 */
export async function openOutside(
  certs: string,
  { listen, names }: TunnelConfig,
  visitors: Visitors,
  failed: (error: unknown) => void,
): Promise<Outside> {
  // What an authority may sign for is written into it: other names have another one.
  const directory = join(certs, `tunnel-${hash('sha256', names.toSorted().join(' ')).slice(0, 8)}`)
  const { authority } = await loadOrMakeAuthority(directory, {
    name: `Sotto tunnels of ${names[0]}`,
    permitted: {
      dns: names.filter((name) => isIP(name) === 0),
      ip: names.filter((name) => isIP(name) !== 0).map((name) => `${name}/${isIP(name) === 4 ? 32 : 128}`),
    },
  }).catch((error: unknown) => {
    throw error instanceof AuthorityError && error.code === 'expired'
      ? new AuthorityError(
          'expired',
          error.message,
          `Check the clock (\`date\`). If it is right: move ${directory} away, start again, and give lenders and friends tunnel.crt anew.`,
          error,
        )
      : error
  })
  const certificate = await ensureLeaf(authority, directory, { names })
  await writeFileAtomic(tunnelAuthority(certs), authority.rootCertificate, { mode: 0o644 })
  const outside = await listenOutside({
    ...listen,
    names,
    certificate,
    visitors,
    roots: () => trustedRoots(directory),
  })
  const stop = keepLeaf(
    () => loadAuthority(directory),
    directory,
    { names },
    { renewed: outside.renew, failed },
  )
  return {
    ...outside,
    close() {
      stop()
      return outside.close()
    },
  }
}

/** What lenders trust it by. */
export function tunnelAuthority(certs: string): string {
  return join(certs, 'tunnel.crt')
}

export interface TunnelConfig {
  readonly listen: { readonly host: string; readonly port: number }
  /** Under which it is reached. */
  readonly names: readonly string[]
}

async function listenOutside({
  host,
  port,
  names,
  certificate,
  visitors,
  roots,
}: OutsideOptions): Promise<Outside> {
  const attempts = new RateLimiterMemory({ points: attemptsPerMinute, duration: 60 })
  const visits = new RateLimiterMemory({ points: pointsPerMinute, duration: 60 })
  const sockets = new Set<Duplex>()
  let known: OwnNames | undefined
  const visit = (request: IncomingMessage, response: ServerResponse): void => {
    const [path = ''] = (request.url ?? '').split('?', 1)
    const from = networkOf(request.socket.remoteAddress)
    const { pages, relay } = visitors
    const isOurs = known !== undefined && checkOrigin(known, request.headers.host, undefined).allow
    const cost = isOurs ? pages?.cost(path) : undefined
    const tooOften = () => nothing(response, 429)
    if (pages && cost !== undefined)
      visits.consume(from, cost).then(() => pages.serve(request, response), tooOften)
    else if (relay)
      attempts
        .consume(from)
        .then(() => relay.answer(request, response, roots) || nothing(response, 404), tooOften)
    else nothing(response, 404)
  }
  const server = createServer(
    {
      ...certificate,
      minVersion: 'TLSv1.2',
      handshakeTimeout: handshakeMs,
      headersTimeout: handshakeMs,
      requestTimeout: handshakeMs,
      maxHeaderSize: 8 * 1024,
    },
    visit,
  )
  server.maxConnections = maxConnections
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  server.on('secureConnection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    const [path] = (request.url ?? '').split('?', 1)
    const upgrade = upgradeFor(visitors, path, request.headers.authorization !== undefined)
    if (!upgrade) return refuseUpgrade(socket, 404)
    attempts.consume(networkOf(request.socket.remoteAddress)).then(
      () => upgrade(request, socket, head),
      () => refuseUpgrade(socket, 429),
    )
  })
  await new Promise<void>((settle, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      fail(
        new Problem(
          'tunnel_listen',
          `Can't listen for tunnels on ${host}:${port} (${error.code}).`,
          'Choose another address or port in config.yaml: tunnel.listen',
          error,
        ),
      ),
    )
    server.listen({ host, port }, settle)
  })
  const address = server.address()
  const bound = typeof address === 'object' && address ? address.port : port
  known = outsideNames(names, bound)
  return {
    port: bound,
    renew: (next) => server.setSecureContext(next),
    async close() {
      const closed = new Promise<void>((settle) => server.close(() => settle()))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** A router may forward 443 to it: then the browser writes no port. */
export function outsideNames(names: readonly string[], port: number): OwnNames {
  return { hosts: new Set([port, 443].flatMap((one) => [...ownNames(names, one).hosts])), origins: new Set() }
}

function upgradeFor({ tunnel, relay }: Visitors, path: string | undefined, hasKey: boolean) {
  // Without a key there is nothing to say to anybody who wants to lend, or to use what is shared.
  if (path === tunnelPath) return hasKey ? tunnel : undefined
  if (path === relay?.friends.path) return hasKey ? relay?.friends.upgrade : undefined
  return path === relay?.path ? relay?.upgrade : undefined
}

function nothing(response: ServerResponse, status: 404 | 429): void {
  response.writeHead(status, { connection: 'close' }).end()
}
