/**
 * Where the other gateways of the same house ask for a lender that is connected here: TLS by our own authority, and
 * a secret that only gateways with the hub's key can make. What comes in here goes to a lender or nowhere, so nothing
 * is passed on twice.
 */
import { hkdfSync, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { pipeline } from 'node:stream/promises'
import type { Certificate } from '#listener/listener.ts'
import type { Hub } from '#tunnel/hub.ts'

export interface Door {
  readonly port: number
  /** New connections get the new leaf. */
  renew(certificate: Certificate): void
  close(): Promise<void>
}

export interface DoorOptions {
  readonly listen: { readonly host: string; readonly port: number }
  readonly certificate: Certificate
  readonly secret: string
  readonly hub: Pick<Hub, 'find'>
}

/** A name that every gateway's certificate is for: addresses may be outside what the authority signs for. */
export const doorName = 'sotto.internal'
export const secretHeader = 'x-sotto-neighbour'

/** Of the connection, or ours; not the lender's. */
const between = new Set(['connection', 'host', 'keep-alive', secretHeader, 'transfer-encoding', 'upgrade'])

/** @param hubKey private, base64 */
export function secretOf(hubKey: string): string {
  const made = hkdfSync('sha256', Buffer.from(hubKey, 'base64'), '', 'sotto neighbours', 32)
  return Buffer.from(made).toString('base64url')
}

export async function openDoor({ listen, certificate, secret, hub }: DoorOptions): Promise<Door> {
  const right = Buffer.from(secret)
  const server = createServer({ ...certificate, minVersion: 'TLSv1.3' }, (incoming, outgoing) => {
    const said = Buffer.from(String(incoming.headers[secretHeader] ?? ''))
    if (said.length !== right.length || !timingSafeEqual(said, right)) {
      outgoing.writeHead(404).end()
      return
    }
    // Whoever asked sees a path that broke, as when the lender itself had gone.
    pass(hub, incoming, outgoing).catch(() => outgoing.destroy())
  })
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  server.listen(listen.port, listen.host)
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : listen.port,
    renew: (renewed) => server.setSecureContext(renewed),
    async close() {
      server.close()
      server.closeAllConnections()
      if (server.listening) await once(server, 'close')
    },
  }
}

/** `/PERSON/NAME/…`, to that lender. Throws where it is not here, or breaks off. */
async function pass(
  hub: Pick<Hub, 'find'>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const [, person = '', name = '', rest = ''] = /^\/([^/]+)\/([^/]+)(\/.*)$/.exec(incoming.url ?? '') ?? []
  const lender = hub.find(decodeURIComponent(person), name)
  if (!lender) throw new Error('the lender is not here')
  const left = new AbortController()
  outgoing.once('close', () => left.abort())
  const hasBody =
    incoming.headers['content-length'] !== undefined || incoming.headers['transfer-encoding'] !== undefined
  const { statusCode, headers, body } = await lender.upstream.request({
    method: incoming.method ?? 'GET',
    path: rest,
    headers: passedOn(incoming.headers),
    body: hasBody ? incoming : null,
    signal: left.signal,
  })
  outgoing.writeHead(statusCode, passedOn(headers))
  await pipeline(body, outgoing)
}

function passedOn(headers: IncomingMessage['headers']): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers))
    if (typeof value === 'string' && !between.has(name)) kept[name] = value
  return kept
}
