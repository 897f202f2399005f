/** The relay's HTTP: `/register` and `/health`, on the overlay beside all else, and alone where it is open to all. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ollamaDialect, statusOf, errorHeaders } from '#api/envelope.ts'
import type { Route } from '#api/route.ts'
import type { Logger } from 'pino'
import type { Member } from '#identity/caller.ts'
import { identifyByKey, type Identity } from '#identity/identify.ts'
import { nextRequestId, write, type Recorder, since } from '#ledger/record.ts'
import { asFailure } from '../failure.ts'
import { registerMesh, relayService, type RegistrationDeps } from './registration.ts'
import type { Relay } from './relay.ts'

export interface RelayHttpDeps extends RegistrationDeps {
  readonly relay: Pick<Relay, 'meshes'>
  readonly identity: Identity
  readonly recorder: Recorder
  readonly log: Pick<Logger, 'error'>
}

export function relayRoutes(deps: RegistrationDeps): Route[] {
  return [
    {
      group: 'member',
      method: 'POST',
      path: '/register',
      dialect: ollamaDialect,
      summary: 'Let a mesh onto the relay, by an invitation or with a key for the service relay',
      async handle({ c, incoming, caller, record }) {
        record.service = relayService
        return c.json(await registerMesh(deps, incoming, caller))
      },
    },
  ]
}

/** For the listener that is open to all; false for what is not the relay's. */
export function createRelayHttp({ identity, recorder, relay, log, ...deps }: RelayHttpDeps) {
  const register = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const at = Date.now()
    const began = performance.now()
    // Of a socket that is gone, there is none any more.
    const { remoteAddress: address = '' } = request.socket
    let caller: Member | undefined
    let refusal: string | undefined
    let status = 200
    try {
      const { authorization, 'x-api-key': key } = request.headers
      if (authorization !== undefined || key !== undefined)
        caller = await identifyByKey(identity, address, request.headers)
      send(response, 200, await registerMesh(deps, request, caller))
    } catch (error) {
      const failure = asFailure(error)
      if (failure.code === 'internal') log.error({ err: failure.cause }, 'a registration failed')
      refusal = failure.detail
      status = statusOf(failure)
      send(response, status, ollamaDialect.error(failure, statusOf(failure), ''), errorHeaders(failure))
    }
    write(
      recorder,
      { id: nextRequestId(), caller, service: relayService, ...(refusal !== undefined && { refusal }) },
      {
        at,
        began,
        address,
        method: 'POST',
        path: '/register',
        status,
        durationMs: since(began),
        ended: 'whole',
      },
    )
  }
  return (
    request: IncomingMessage,
    response: ServerResponse,
    roots: () => Promise<readonly string[]>,
  ): boolean => {
    const asked = `${request.method} ${(request.url ?? '').split('?', 1)[0]}`
    if (asked === 'POST /register') void register(request, response)
    else if (asked === 'GET /health') send(response, 200, { ok: true, connected: relay.meshes.length })
    else if (asked === 'GET /ca.crt')
      roots().then(
        (pems) =>
          response.writeHead(200, { 'content-type': 'application/x-x509-ca-cert' }).end(pems.join('')),
        () => response.writeHead(500).end(),
      )
    else return false
    return true
  }
}

function send(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  response
    .writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers })
    .end(JSON.stringify(body))
}
