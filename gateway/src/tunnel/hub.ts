/** The gateway's end of all tunnels: who may lend, who lends now, and what of it the engines have. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { KnownLender } from '@sotto/provisioning/registry/lender.ts'
import type { Logger } from 'pino'
import type { Dispatcher } from 'undici'
import { WebSocketServer, type WebSocket } from 'ws'
import { requireService } from '#admission/admission.ts'
import { ownDialect, statusOf } from '#api/envelope.ts'
import type { Engines, Lent } from '#engines/engine.ts'
import { parseJson } from '#engines/json.ts'
import { textOf } from '#engines/text-of.ts'
import type { Member } from '#identity/caller.ts'
import { normal } from '#identity/directory.ts'
import { identify, identifyByKey, type Identity } from '#identity/identify.ts'
import { nextRequestId, write, type Recorder, since } from '#ledger/record.ts'
import { checkOrigin, type OwnNames } from '#listener/origin.ts'
import { refuseUpgrade } from '#listener/refuse-upgrade.ts'
import { asFailure, Failure } from '../failure.ts'
import { TunnelDispatcher } from './dispatcher.ts'
import { tunnelProtocol } from './frame.ts'
import { openLink, socketOptions, type Closed, type Link } from './link.ts'
import { lenderName, offer, offerPath, type Offer } from './offer.ts'
import { closeCodes, tunnelPath } from './protocol.ts'
import { createRoster, type Entry } from './roster.ts'

export interface LiveLender extends Entry {
  readonly personId: string
  readonly person: string
  readonly name: string
  /** The name of the key by which it came. */
  readonly key: string
  /** From which it came. */
  readonly address: string
  readonly since: Date
  readonly offer: Offer
  readonly upstream: Dispatcher
  readonly lent: Lent
}

export interface HubDeps {
  readonly identity: Identity
  names(): OwnNames
  readonly recorder: Recorder
  readonly engines: Pick<Engines, 'lend'>
  /** Keeps which lenders there are. */
  note(lender: Omit<KnownLender, 'person' | 'firstAt' | 'lastAt'>): Promise<void>
  readonly log: Pick<Logger, 'info' | 'error'>
  /** Between two pings of a tunnel, ms. */
  readonly pingEveryMs?: number
}

export interface Hub {
  /** Handles the `upgrade` event of the overlay's server, for `/tunnel`. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** The same for those from elsewhere, whose address says nothing of them. */
  upgradeOutside(request: IncomingMessage, socket: Duplex, head: Buffer): void
  find(person: string, name: string): LiveLender | undefined
  readonly all: readonly LiveLender[]
  /** Ends all tunnels; resolves when the engines have let go of them. */
  close(): Promise<void>
}

/** The service that a key must be allowed by its name: without a list of services it may not lend. */
const lendService = 'lend'

/** A machine that is asked what it has answers at once, or lends nothing. */
const offerMs = 10_000
const maxOfferBytes = 64 * 1024
/** Whether it may still lend is looked at so often; a key that is revoked ends it at once. */
const checkEveryMs = 5_000

export function createHub(deps: HubDeps): Hub {
  const roster = createRoster<LiveLender>()
  const running = new Set<Promise<void>>()
  const links = new Set<Link>()
  let last = 0
  const sockets = new WebSocketServer({
    noServer: true,
    ...socketOptions,
    handleProtocols: () => tunnelProtocol,
  })
  const come = async (
    request: IncomingMessage,
    [socket, head]: readonly [Duplex, Buffer],
    current: () => Promise<Member>,
  ): Promise<void> => {
    const who = await lenderOf(request, current)
    sockets.handleUpgrade(request, socket, head, (accepted) => {
      last += 1
      const one = serve(deps, roster, links, accepted, { ...who, number: last, current })
        .catch((error: unknown) => deps.log.error({ err: error }, 'a tunnel failed'))
        .finally(() => running.delete(one))
      running.add(one)
    })
  }
  const handle = (
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    current: () => Promise<Member>,
  ): void => {
    const at = Date.now()
    const began = performance.now()
    socket.on('error', () => socket.destroy())
    come(request, [socket, head], current).catch((error: unknown) => {
      const failure = asFailure(error)
      if (failure.code === 'internal') deps.log.error({ err: failure.cause }, 'a tunnel could not be opened')
      const status = statusOf(failure)
      const address = request.socket.remoteAddress ?? ''
      write(
        deps.recorder,
        { id: nextRequestId(), caller: undefined, service: lendService, refusal: failure.code },
        { ...row, at, began, address, status, durationMs: since(began), ended: 'whole' },
      )
      refuseUpgrade(socket, status, ownDialect.error(failure, status, ''))
    })
  }
  return {
    upgrade(request, socket, head) {
      handle(request, socket, head, async () => {
        const verdict = checkOrigin(deps.names(), request.headers.host, request.headers.origin)
        if (!verdict.allow) throw new Failure(verdict.code, verdict.message)
        const found = await identify(deps.identity, request.socket.remoteAddress, request.headers)
        if (found.kind === 'guest')
          throw new Failure('forbidden', 'A one-time link lets a device enrol, and nothing else.')
        return found
      })
    },
    upgradeOutside(request, socket, head) {
      handle(request, socket, head, () =>
        identifyByKey(deps.identity, request.socket.remoteAddress, request.headers),
      )
    },
    find: (person, name) => roster.all.find((one) => one.person === person && one.name === name),
    get all() {
      return roster.all
    },
    async close() {
      for (const link of links) link.close(1001, 'The gateway stops.')
      await Promise.all(running)
      sockets.close()
    },
  }
}

const row = { method: 'WS', path: tunnelPath } as const

/** Whether a key may lend: only where its own list of services says so, and nobody else's leaves it out. */
function requireLending(caller: Member): asserts caller is Member & Required<Pick<Member, 'key' | 'person'>> {
  const own = caller.held.find(({ subject }) => subject === `key:${caller.key?.id}`)
  if (caller.key === undefined || caller.person === undefined || caller.personId === undefined)
    throw new Failure('unauthorized', 'To lend takes an API key of this gateway’s.')
  if (!own?.services?.includes(lendService))
    throw new Failure(
      'forbidden',
      `The key “${caller.key.name}” may not lend. The admin makes one that may: ./sotto key add NAME --services ${lendService}`,
    )
  requireService(caller, lendService)
}

interface Who {
  readonly caller: Member & Required<Pick<Member, 'key' | 'person'>>
  readonly name: string
  readonly address: string
}

/** Throws a `Failure`. */
async function lenderOf(request: IncomingMessage, current: () => Promise<Member>): Promise<Who> {
  const { pathname, searchParams } = new URL(request.url ?? '', 'wss://gateway')
  if (pathname !== tunnelPath) throw new Failure('not_found', `Tunnels are at ${tunnelPath}.`)
  // What stands in an address stands in logs.
  if (searchParams.has('key')) throw new Failure('invalid', 'key: send it as Authorization: Bearer, only.')
  if (request.headers.origin !== undefined) throw new Failure('forbidden', 'No page lends.')
  if (!offers(request).includes(tunnelProtocol))
    throw new Failure('invalid', `Offer the WebSocket subprotocol ${tunnelProtocol}.`)
  const name = searchParams.get('name') ?? ''
  if (!lenderName.test(name))
    throw new Failure('invalid', 'name: small letters, digits and dashes, 32 at most.')
  const caller = await current()
  requireLending(caller)
  return { caller, name, address: normal(request.socket.remoteAddress ?? '') }
}

function offers(request: IncomingMessage): string[] {
  return (request.headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim())
}

async function serve(
  { recorder, engines, note, log, pingEveryMs }: HubDeps,
  roster: ReturnType<typeof createRoster<LiveLender>>,
  links: Set<Link>,
  socket: WebSocket,
  { caller, name, address, number, current }: Who & { number: number; current(): Promise<Member> },
): Promise<void> {
  const at = Date.now()
  const began = performance.now()
  const { key, person, personId = '' } = caller
  const id = `${person}/${name}`
  const link = openLink(socket, { ...(pingEveryMs !== undefined && { pingEveryMs }) })
  links.add(link)
  const forget = recorder.opened({
    caller,
    end: () => link.close(closeCodes.notAllowed, 'The key is of no use any more.'),
  })
  const checks = setInterval(() => {
    current()
      .then(requireLending)
      .catch((error: unknown) => link.close(closeCodes.notAllowed, asFailure(error).message))
  }, checkEveryMs)
  const record = (status: number, ended: 'whole' | 'cut' | 'left'): void =>
    write(
      recorder,
      { id: nextRequestId(), caller, service: lendService, backend: id },
      {
        ...row,
        at: status === 101 ? at : Date.now(),
        began,
        address,
        status,
        durationMs: since(began),
        ended,
      },
    )
  let live: LiveLender | undefined
  try {
    const upstream = new TunnelDispatcher(link.mux)
    const offered = await askOffer(upstream).catch((error: unknown) => {
      link.close(closeCodes.badOffer, 'What this machine says of itself could not be read.')
      log.error({ err: error, lender: id }, 'a lender said nothing that is an offer')
    })
    if (!offered) return
    record(101, 'whole')
    const lent = await engines.lend({
      name: id,
      upstream,
      ollama: offered.ollama
        ? { name: id, url: 'http://lender/ollama', kind: 'ollama', parallel: offered.parallel }
        : undefined,
      whisper: offered.whisper ? 'http://lender/whisper' : undefined,
    })
    live = {
      id,
      number,
      personId,
      person,
      name,
      key: key.name,
      address,
      since: new Date(at),
      offer: offered,
      upstream,
      lent,
      replaced: () => link.close(closeCodes.replaced, 'Another connection lends under this name now.'),
    }
    const seen = () => note({ personId, name, key: key.name, address, offer: JSON.stringify(offered) })
    roster.enter(live)
    await seen()
    log.info({ lender: id, address }, 'a lender is connected')
    const closed = await link.closed
    await seen()
    record(closed.code, endOf(closed))
    log.info({ lender: id, address, ...closed }, 'a lender is gone')
  } finally {
    if (live) roster.leave(live)
    clearInterval(checks)
    forget()
    links.delete(link)
    link.close(1000, '')
    await live?.lent.leave()
  }
}

async function askOffer(upstream: Dispatcher): Promise<Offer> {
  const { body } = await upstream.request({
    method: 'GET',
    path: offerPath,
    signal: AbortSignal.timeout(offerMs),
  })
  return offer.parse(parseJson(await textOf(body, maxOfferBytes)))
}

/** Whether it said farewell, or the path broke. */
function endOf({ code }: Closed): 'whole' | 'cut' | 'left' {
  if (code === 1000 || code === 1001) return 'left'
  return code === 1006 ? 'cut' : 'whole'
}
