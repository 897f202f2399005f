/**
 * Models between gateways that are friends. Each pair has two tunnels, dialled by the one that joined: one over which
 * we ask what the friend shares, one over which it asks us. What it asks goes through admission as its tenant's.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import { WebSocketServer, type WebSocket } from 'ws'
import { ownDialect, statusOf } from '#api/envelope.ts'
import type { ApiDeps } from '#api/inference.ts'
import type { Engines } from '#engines/engine.ts'
import type { Member } from '#identity/caller.ts'
import { normal } from '#identity/directory.ts'
import { nextRequestId, write, type Recorder, since } from '#ledger/record.ts'
import { refuseUpgrade } from '#listener/refuse-upgrade.ts'
import { dialTunnel } from '#tunnel/dial.ts'
import { TunnelDispatcher } from '#tunnel/dispatcher.ts'
import { tunnelProtocol } from '#tunnel/frame.ts'
import { openLink, socketOptions, type Link } from '#tunnel/link.ts'
import { closeCodes } from '#tunnel/protocol.ts'
import { asFailure, Failure } from '../failure.ts'
import { createFriendBackend, type FriendBackend } from './backend.ts'
import { createDoor, type Door } from './door.ts'
import { keepDialled, type Dialling } from './keep-dialled.ts'
import { friendPath, readRole, roles, type Role } from './protocol.ts'

/** A gateway of somebody else's, as the registry has it. */
export interface Friend {
  readonly meshId: string
  /** The `friend` of `model@friend`. */
  readonly name: string
  /** What it is as a caller here. */
  readonly member: Member
  /** Where we dial it; left out, it dials us. */
  readonly dial?: FriendDial
}

export interface FriendDial {
  /** Of its relay: `wss://…/gateway` */
  readonly url: string
  /** PEM of the authority that it was made known by; undefined where this machine's own store decides. */
  readonly ca: string | undefined
  /** By which it knows us, and what proves that. */
  readonly meshId: string
  readonly secret: string
}

export interface FriendsDeps {
  readonly engines: Pick<Engines, 'befriend' | 'own' | 'onChange'>
  readonly api: Omit<ApiDeps, 'engines'>
  readonly recorder: Recorder
  /** The mesh's name where its id and secret go together. */
  verify(meshId: string, secret: string, address: string): Promise<string | undefined>
  readonly log: Pick<Logger, 'info' | 'error'>
  /** Between two pings of a tunnel, ms. */
  readonly pingEveryMs?: number
}

export interface FriendView {
  readonly name: string
  /** Whether we may ask it now, and it us. */
  readonly connected: boolean
  /** Names of the models that it shares with us, as they are asked for here. */
  readonly models: readonly string[]
}

export interface Friends {
  /** Handles the `upgrade` event of a listener, for `friendPath`. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Takes up who is a friend, and what each may use: who is none any more is cut off at once. */
  update(friends: readonly Friend[]): void
  readonly all: readonly FriendView[]
  /** Names of our models: what can be granted. */
  readonly ours: readonly string[]
  /** Ends all tunnels. */
  close(): Promise<void>
}

/** One friend, and what is open with it. */
interface Line {
  friend: Friend
  readonly backend: FriendBackend
  readonly door: Door
  /** By what the friend does over it. */
  readonly links: Map<Role, Link>
  dialled: readonly Dialling[]
  leave(): Promise<void>
}

export function createFriends(deps: FriendsDeps): Friends {
  const lines = new Map<string, Line>()
  const leaving = new Set<Promise<void>>()
  const sockets = new WebSocketServer({
    noServer: true,
    ...socketOptions,
    handleProtocols: () => tunnelProtocol,
  })
  const tellAll = (): void => {
    for (const { door } of lines.values()) door.changed()
  }
  const stopTelling = deps.engines.onChange(tellAll)

  const begin = (friend: Friend): Line => {
    const { meshId, name } = friend
    const made: { backend?: FriendBackend } = {}
    const leave = deps.engines.befriend((changed) => (made.backend = createFriendBackend(name, changed)))
    if (!made.backend) throw new Error('unreachable: the engines make it at once')
    const door = createDoor({
      api: { ...deps.api, engines: deps.engines.own },
      recorder: deps.recorder,
      log: deps.log,
      friend: () => lines.get(meshId)?.friend.member,
    })
    const line: Line = { friend, backend: made.backend, door, links: new Map(), dialled: [], leave }
    lines.set(meshId, line)
    return line
  }
  const end = (line: Line): void => {
    lines.delete(line.friend.meshId)
    for (const one of line.dialled) one.stop()
    for (const link of line.links.values()) link.close(closeCodes.notAllowed, 'We are friends no more.')
    line.door.close()
    const left = line.leave().finally(() => leaving.delete(left))
    leaving.add(left)
  }
  /** Takes up a tunnel, by the friend's role in it. */
  const use = (line: Line, role: Role, link: Link): void => {
    const { name } = line.friend
    line.links.get(role)?.close(closeCodes.replaced, 'Another connection has its place.')
    line.links.set(role, link)
    if (role === 'answers') void line.backend.follow(new TunnelDispatcher(link.mux))
    deps.log.info({ friend: name, role }, 'a friend’s tunnel is open')
    void link.closed.then((closed) => {
      if (line.links.get(role) === link) line.links.delete(role)
      deps.log.info({ friend: name, role, ...closed }, 'a friend’s tunnel is over')
    })
  }
  const dial = (line: Line, { url, ca, meshId, secret }: FriendDial): readonly Dialling[] =>
    roles.map((own) => {
      const to = new URL(friendPath, url)
      to.searchParams.set('mesh', meshId)
      to.searchParams.set('role', own)
      const accept =
        own === 'answers' ? line.door.accept(normal(to.hostname.replaceAll(/[[\]]/g, ''))) : undefined
      return keepDialled(
        (signal) =>
          dialTunnel({ url: to, key: secret, ca, ...(accept && { accept }), ...pings(deps) }, signal),
        (link) => use(line, own === 'asks' ? 'answers' : 'asks', link),
        (error) => deps.log.info({ friend: line.friend.name, err: error }, 'a friend is not reached'),
      )
    })
  const accept = (line: Line, role: Role, socket: WebSocket, address: string): void => {
    const options = role === 'asks' ? { accept: line.door.accept(address) } : {}
    use(line, role, openLink(socket, { ...options, ...pings(deps) }))
  }
  const come = async (
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    address: string,
  ): Promise<Member> => {
    const { meshId, role, secret } = readRequest(request)
    if ((await deps.verify(meshId, secret, address)) === undefined)
      throw new Failure('unauthorized', 'This gateway knows no friend by that secret.')
    const line = lines.get(meshId)
    if (!line || line.friend.dial) throw new Failure('forbidden', 'This gateway is no friend of yours.')
    sockets.handleUpgrade(request, socket, head, (accepted) => accept(line, role, accepted, address))
    return line.friend.member
  }
  return {
    upgrade(request, socket, head) {
      const at = Date.now()
      const began = performance.now()
      const address = normal(request.socket.remoteAddress ?? '')
      const record = (status: number, caller: Member | undefined, refusal: { refusal?: string }): void =>
        write(
          deps.recorder,
          { id: nextRequestId(), caller, service: 'friend', ...refusal },
          {
            at,
            began,
            address,
            method: 'WS',
            path: friendPath,
            status,
            durationMs: since(began),
            ended: 'whole',
          },
        )
      socket.on('error', () => socket.destroy())
      come(request, socket, head, address).then(
        (member) => record(101, member, {}),
        (error: unknown) => {
          const failure = asFailure(error)
          if (failure.code === 'internal')
            deps.log.error({ err: failure.cause }, 'a friend’s tunnel could not be opened')
          const status = statusOf(failure)
          record(status, undefined, { refusal: failure.code })
          refuseUpgrade(socket, status, ownDialect.error(failure, status, ''))
        },
      )
    },
    update(friends) {
      const wanted = new Map(friends.map((friend) => [friend.meshId, friend]))
      for (const [meshId, line] of lines) {
        const now = wanted.get(meshId)
        if (!now || !isSame(line.friend, now)) end(line)
      }
      for (const friend of friends) {
        const known = lines.get(friend.meshId)
        const line = known ?? begin(friend)
        line.friend = friend
        if (!known && friend.dial) line.dialled = dial(line, friend.dial)
      }
      tellAll()
    },
    get all() {
      return [...lines.values()].map(({ friend, backend, links }) => ({
        name: friend.name,
        connected: links.size === roles.length,
        models: backend.state.status === 'up' ? backend.models.map(({ name }) => name) : [],
      }))
    },
    get ours() {
      return deps.engines.own.pool.models.map(({ name }) => name)
    },
    async close() {
      stopTelling()
      for (const line of lines.values()) end(line)
      await Promise.all(leaving)
      sockets.close()
    },
  }
}

/** Whether it goes on as it is: what it is granted may be another, but not who it is or where. */
function isSame(one: Friend, other: Friend): boolean {
  return (
    one.name === other.name &&
    one.member.tenant.disabledAt === other.member.tenant.disabledAt &&
    JSON.stringify(one.dial) === JSON.stringify(other.dial)
  )
}

function pings({ pingEveryMs }: FriendsDeps): { readonly pingEveryMs?: number } {
  return pingEveryMs === undefined ? {} : { pingEveryMs }
}

/** Throws a `Failure`. */
function readRequest(request: IncomingMessage): {
  readonly meshId: string
  readonly role: Role
  readonly secret: string
} {
  const { searchParams } = new URL(request.url ?? '', 'wss://gateway')
  const role = readRole(searchParams.get('role'))
  const [, secret] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? []
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim())
  if (request.headers.origin !== undefined) throw new Failure('forbidden', 'No page is a friend.')
  if (!offered.includes(tunnelProtocol))
    throw new Failure('invalid', `Offer the WebSocket subprotocol ${tunnelProtocol}.`)
  if (role === undefined) throw new Failure('invalid', `role: ${roles.join(' or ')}.`)
  if (secret === undefined) throw new Failure('unauthorized', 'Send the secret as Authorization: Bearer.')
  return { meshId: searchParams.get('mesh') ?? '', role, secret }
}
