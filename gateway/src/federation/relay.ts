/**
 * The relay: which meshes are connected, and what goes from one to another. It holds no message: one whose target is
 * not connected is refused, and who can't take what comes is cut by its wire.
 */
import type { Logger } from 'pino'
import { createAllotment } from './allotment.ts'
import type { Clock } from './clock.ts'
import {
  cleanPayload,
  messagesPerMinute,
  readReceived,
  relayError,
  sottoMessagesPerMinute,
  type Instance,
  type Participant,
  type Request,
} from './frames.ts'
import { openPort, type Port, type Wire } from './port.ts'

export interface RelayDeps {
  /** Whose id and secret these are: its name; undefined where they are nobody's. */
  verify(meshId: string, secret: string, address: string): Promise<string | undefined>
  /** A mesh is connected, or was until now. */
  seen(meshId: string, address: string): void
  readonly clock: Clock
  readonly log: Pick<Logger, 'info' | 'error'>
}

export interface LiveMesh {
  readonly meshId: string
  readonly name: string
  readonly rooms: readonly string[]
  readonly address: string
  readonly since: Date
  /** Within this minute. */
  readonly messages: number
}

/** A mesh of this very process: our own gateway's. */
export interface OwnSeat {
  relay(target: string, payload: string): void
  readonly instances: readonly Instance[]
  find(meshId: string): Instance | undefined
  announce(rooms: readonly string[]): void
}

export interface OwnMesh {
  readonly meshId: string
  readonly name: string
  incoming(fromMeshId: string, fromMeshName: string, payload: unknown): void
  /** Others came, went or have other rooms. */
  changed(): void
  /** One has a new connection. */
  arrived(meshId: string): void
}

export interface Relay {
  open(wire: Wire, address: string): Port
  enter(own: OwnMesh): OwnSeat
  /** Those that are connected over a wire. */
  readonly meshes: readonly LiveMesh[]
  /** Ends the connections of those that may be here no more. */
  keepOnly(isLetIn: (meshId: string) => boolean): void
  close(): void
}

interface Seat {
  readonly meshId: string
  readonly name: string
  readonly address: string
  readonly since: Date
  rooms: readonly string[]
  participants: readonly Participant[]
  /** Whether it paces itself, and is told of others unasked. */
  readonly sotto: boolean
  send(frame: object | string): void
  close(): void
}

/** Asking who is there, and telling of oneself. */
const otherFramesPerMinute = 120
/** Many come at once where a relay starts; each is told of the others once. */
const tellAfterMs = 200
const tellEachMs = 5

export function createRelay({ verify, seen, clock, log }: RelayDeps): Relay {
  const seats = new Map<string, Seat>()
  const sentBy = createAllotment(clock)
  const askedBy = createAllotment(clock)
  let own: OwnMesh | undefined
  let telling: (() => void) | undefined

  const instanceOf = ({ meshId, name, rooms }: Seat): Instance => ({
    meshId,
    name,
    publicRooms: [...rooms],
  })
  const instances = (): Instance[] => [...seats.values()].map(instanceOf)
  const tell = (): void => {
    own?.changed()
    telling ??= clock.after(Math.max(tellAfterMs, seats.size * tellEachMs), () => {
      telling = undefined
      const listening = [...seats.values()].filter(({ sotto }) => sotto)
      if (listening.length === 0) return
      const frame = JSON.stringify({ type: 'gateway_discover_result', instances: instances() })
      for (const seat of listening) seat.send(frame)
    })
  }
  const others = (seat: Seat): Seat[] => [...seats.values()].filter((one) => one !== seat)
  const participantsOf = ({ meshId, name, participants }: Seat) => ({ meshId, meshName: name, participants })
  const tellParticipants = (seat: Seat): void => {
    const frame = JSON.stringify({ type: 'gateway_participants', remoteParticipants: [participantsOf(seat)] })
    for (const other of others(seat)) other.send(frame)
  }
  const incoming = (from: Seat, payload: object): string =>
    JSON.stringify({
      type: 'gateway_incoming',
      fromMeshId: from.meshId,
      fromMeshName: from.name,
      payload,
    })
  const sit = (seat: Seat): void => {
    // First the new one: what the old one's end undoes is then its own place alone.
    const before = seats.get(seat.meshId)
    seats.set(seat.meshId, seat)
    before?.close()
    seen(seat.meshId, seat.address)
    log.info({ mesh: seat.meshId, address: seat.address }, 'a mesh is connected')
  }
  const leave = (seat: Seat): void => {
    if (seats.get(seat.meshId) !== seat) return
    seats.delete(seat.meshId)
    seen(seat.meshId, seat.address)
    log.info({ mesh: seat.meshId }, 'a mesh is gone')
    tell()
  }
  const greet = (seat: Seat): void => {
    seat.send({
      type: 'gateway_auth_ok',
      meshId: seat.meshId,
      name: seat.name,
      ...(seat.sotto && { sotto: { messagesPerMinute: sottoMessagesPerMinute } }),
    })
    const remoteParticipants = others(seat)
      .filter(({ participants }) => participants.length > 0)
      .map(participantsOf)
    if (remoteParticipants.length > 0) seat.send({ type: 'gateway_participants', remoteParticipants })
    if (seat.participants.length > 0) tellParticipants(seat)
    tell()
    own?.arrived(seat.meshId)
  }
  const mayAsk = (seat: Seat): boolean => {
    if (askedBy.take(seat.meshId, otherFramesPerMinute)) return true
    seat.send(relayError(`Rate limited (max ${otherFramesPerMinute} requests/minute)`))
    return false
  }
  /** What a relay or broadcast carries, where it may be sent. */
  const admit = (seat: Seat, payload: unknown, most: number): object | undefined => {
    if (!sentBy.take(seat.meshId, most)) {
      seat.send(relayError(`Rate limited (max ${most} messages/minute)`))
      return undefined
    }
    const clean = cleanPayload(payload)
    if (!clean) seat.send(relayError('Payload must be an object'))
    return clean
  }
  const handle = (seat: Seat, frame: Request): void => {
    switch (frame.type) {
      case 'gateway_relay': {
        const payload = admit(seat, frame.payload, seat.sotto ? sottoMessagesPerMinute : messagesPerMinute)
        if (!payload) return
        const target = seats.get(frame.targetMeshId)
        if (target) target.send(incoming(seat, payload))
        else
          seat.send({
            ...relayError(`Unknown target: no mesh “${frame.targetMeshId.slice(0, 100)}” is connected`),
            targetMeshId: frame.targetMeshId,
          })
        return
      }
      case 'gateway_broadcast': {
        const payload = admit(seat, frame.payload, messagesPerMinute)
        if (!payload) return
        const text = incoming(seat, payload)
        for (const other of others(seat)) other.send(text)
        return
      }
      case 'gateway_discover':
        if (mayAsk(seat)) seat.send({ type: 'gateway_discover_result', instances: instances() })
        return
      case 'gateway_update_participants':
        if (!mayAsk(seat)) return
        seat.participants = frame.participants
        tellParticipants(seat)
        return
      case 'gateway_update_rooms':
        if (!mayAsk(seat)) return
        seat.rooms = frame.publicRooms
        tell()
    }
  }

  return {
    open: (wire, address) =>
      openPort(wire, {
        clock,
        async admit({ meshId, secret, publicRooms, participants, sotto }, send) {
          const name = await verify(meshId, secret, address).catch((cause: unknown) => {
            log.error({ err: cause }, 'a mesh could not be verified')
          })
          if (name === undefined) return undefined
          const seat: Seat = {
            meshId,
            name,
            address,
            since: new Date(clock.now()),
            rooms: publicRooms,
            participants,
            sotto: sotto === 1,
            send,
            close: () => wire.close(),
          }
          return {
            meshId,
            sit() {
              sit(seat)
              greet(seat)
            },
            again(rooms, people) {
              seat.rooms = rooms
              seat.participants = people
              greet(seat)
            },
            // One whose place was taken says nothing more in its name.
            take: (frame) => seats.get(meshId) === seat && handle(seat, frame),
            leave: () => leave(seat),
          }
        },
      }),
    enter(mesh) {
      own = mesh
      const seat: Seat = {
        meshId: mesh.meshId,
        name: mesh.name,
        address: '',
        since: new Date(clock.now()),
        rooms: [],
        participants: [],
        sotto: false,
        send(frame) {
          const read = typeof frame === 'string' ? readReceived(frame) : undefined
          if (read?.type === 'gateway_incoming')
            mesh.incoming(read.fromMeshId, read.fromMeshName, read.payload)
        },
        close() {},
      }
      seats.set(mesh.meshId, seat)
      return {
        relay(target, payload) {
          const to = seats.get(target)
          if (!to || to === seat) return
          const from = `"fromMeshId":${JSON.stringify(seat.meshId)},"fromMeshName":${JSON.stringify(seat.name)}`
          to.send(`{"type":"gateway_incoming",${from},"payload":${payload}}`)
        },
        get instances() {
          return instances()
        },
        find(meshId) {
          const found = seats.get(meshId)
          return found && instanceOf(found)
        },
        announce(rooms) {
          seat.rooms = rooms
          tell()
        },
      }
    },
    get meshes() {
      return [...seats.values()]
        .filter(({ meshId }) => meshId !== own?.meshId)
        .map(({ meshId, name, rooms, address, since }) => ({
          meshId,
          name,
          rooms,
          address,
          since,
          messages: sentBy.count(meshId),
        }))
    },
    keepOnly(isLetIn) {
      for (const seat of seats.values()) {
        if (seat.meshId === own?.meshId || isLetIn(seat.meshId)) continue
        // Nothing of it is heard from here on, however long its connection takes to end.
        leave(seat)
        seat.close()
      }
    },
    close() {
      telling?.()
      for (const seat of seats.values()) seat.close()
    },
  }
}
