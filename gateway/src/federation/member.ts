/** Our place on a friend's relay: a connection that is dialled, kept and dialled again. */
import type { FriendRelay } from '@sotto/provisioning/registry/friend.ts'
import { WebSocket, type RawData } from 'ws'
import { createBackoff, type Backoff } from '#tunnel/backoff.ts'
import type { Clock } from './clock.ts'
import { messagesPerMinute, readReceived, type Instance, type Received } from './frames.ts'
import { createBudget, type Budget, type Link, type LinkEvents } from './link.ts'

export interface MemberOptions {
  readonly via: string
  readonly relay: FriendRelay
  /** That others are to see of us. */
  rooms(): readonly string[]
  readonly events: LinkEvents
  readonly clock: Clock
  readonly backoff?: Backoff
  /** Between two pings, ms. */
  readonly pingEveryMs?: number
}

export interface MemberStatus {
  /** `refused`: it does not know us, or no more. */
  readonly state: 'connecting' | 'connected' | 'waiting' | 'refused'
  /** Of the connection; null while there is none. */
  readonly since: Date | null
  /** Null where nothing went wrong since the last connection. */
  readonly lastError: string | null
}

export interface Member extends Link {
  readonly place: FriendRelay
  readonly status: MemberStatus
}

const handshakeMs = 15_000
/** A list of many meshes, from a relay that has no limit to it. */
const maxPayload = 4 * 1024 * 1024
const mostInstances = 1_000
const defaultPingEveryMs = 5_000
const silentPings = 3
/** Who does not know us learns it from its admin, if ever. */
const refusedWaitMs = 60_000
/** A relay that knows nothing of us does not tell who comes and goes. */
const askEveryMs = 30_000
const minuteMs = 60_000

export function createMember(options: MemberOptions): Member {
  const { via, relay, rooms, events, clock, backoff = createBackoff() } = options
  let status: MemberStatus = { state: 'connecting', since: null, lastError: null }
  let socket: WebSocket | undefined
  let instances: readonly Instance[] = []
  let byId: ReadonlyMap<string, Instance> = new Map()
  let budget: Budget | undefined
  let blockedUntil = 0
  let closed = false
  let again: (() => void) | undefined

  const send = (frame: object | string): void => {
    if (socket?.readyState === WebSocket.OPEN)
      socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }
  const see = (found: readonly Instance[]): void => {
    instances = found.slice(0, mostInstances)
    byId = new Map(instances.map((one) => [one.meshId, one]))
    events.changed(link)
  }
  const lost = (state: 'waiting' | 'refused', lastError: string): void => {
    if (closed) return
    budget = undefined
    status = { state, since: null, lastError }
    see([])
    again = clock.after(state === 'refused' ? refusedWaitMs : backoff.next(), dial)
  }
  const take = (frame: Received): void => {
    switch (frame.type) {
      case 'gateway_auth_ok':
        budget = createBudget(frame.sotto?.messagesPerMinute ?? messagesPerMinute, clock)
        blockedUntil = 0
        backoff.reset()
        status = { state: 'connected', since: new Date(clock.now()), lastError: null }
        send({ type: 'gateway_discover' })
        return
      case 'gateway_auth_error':
        status = { state: 'refused', since: null, lastError: frame.message }
        socket?.close()
        return
      case 'gateway_discover_result': {
        const first = instances.length === 0
        see(frame.instances)
        if (first) events.renewed(link)
        return
      }
      case 'gateway_incoming':
        if (!byId.has(frame.fromMeshId)) {
          // It came since we asked who is there.
          see([...instances, { meshId: frame.fromMeshId, name: frame.fromMeshName, publicRooms: [] }])
          send({ type: 'gateway_discover' })
        }
        events.incoming(link, frame.fromMeshId, frame.payload)
        return
      case 'error':
        if (frame.message.startsWith('Rate limited')) blockedUntil = clock.elapsed() + minuteMs
        // The one that we sent to has gone, so there are others than we know of.
        if (frame.targetMeshId !== undefined)
          see(instances.filter((one) => one.meshId !== frame.targetMeshId))
    }
  }
  const dial = (): void => {
    again = undefined
    status = { ...status, state: 'connecting' }
    const dialled = new WebSocket(relay.url, {
      perMessageDeflate: false,
      handshakeTimeout: handshakeMs,
      maxPayload,
      ...(relay.ca !== undefined && { ca: relay.ca }),
    })
    socket = dialled
    const { meshId, secret } = relay
    const stopWatching = watch(dialled, options, () => send({ type: 'gateway_discover' }))
    let why = ''
    dialled.once('open', () =>
      send({ type: 'gateway_auth', meshId, secret, publicRooms: rooms(), participants: [], sotto: 1 }),
    )
    dialled.on('message', (data: RawData) => {
      const frame = data instanceof Buffer ? readReceived(data.toString()) : undefined
      if (frame && !closed) take(frame)
    })
    dialled.on('error', (error) => {
      why ||= error.message
      dialled.terminate()
    })
    dialled.once('close', () => {
      stopWatching()
      if (status.state === 'refused') lost('refused', status.lastError ?? '')
      else lost('waiting', why || 'the connection broke')
    })
  }
  const link: Member = {
    via,
    meshId: relay.meshId,
    place: relay,
    get instances() {
      return instances
    },
    find: (meshId) => byId.get(meshId),
    freeIn: () => (budget ? Math.max(budget.freeIn(), blockedUntil - clock.elapsed(), 0) : Infinity),
    relay(target, payload) {
      budget?.take()
      send(`{"type":"gateway_relay","targetMeshId":${JSON.stringify(target)},"payload":${payload}}`)
    },
    announce: (publicRooms) => send({ type: 'gateway_update_rooms', publicRooms }),
    close() {
      closed = true
      again?.()
      socket?.close()
      const last = socket
      clock.after(handshakeMs, () => last?.terminate())
    },
    get status() {
      return status
    },
  }
  dial()
  return link
}

/** Ends a connection whose other side is silent, and asks now and then who is there. */
function watch(
  socket: WebSocket,
  { pingEveryMs = defaultPingEveryMs }: MemberOptions,
  ask: () => void,
): () => void {
  let silent = 0
  const alive = (): void => {
    silent = 0
  }
  socket.on('message', alive)
  socket.on('pong', alive)
  socket.on('ping', alive)
  const pings = setInterval(() => {
    if (socket.readyState !== WebSocket.OPEN) return
    silent += 1
    if (silent > silentPings) socket.terminate()
    else socket.ping()
  }, pingEveryMs)
  const asks = setInterval(ask, askEveryMs)
  return () => {
    clearInterval(pings)
    clearInterval(asks)
  }
}
