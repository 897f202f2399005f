/**
 * Carries what changed to whom it concerns. Nothing is queued for it: a room's home knows as far as which change each
 * gateway was told, and each message of ours knows whether it was sent. So what waits takes no more room the longer
 * somebody is away, and what is sent twice because we ended in between changes nothing over there.
 */
import type { Federation } from '#federation/federation.ts'
import { asFailure } from '../failure.ts'
import { messageAt } from './change.ts'
import type { MessageRow, PartyRow, RoomDatabase, RoomRow } from './database.ts'
import type { Frame, Told } from './wire.ts'

export interface Courier {
  /** A peer has something to be told. */
  wake(mesh: string): void
  /** Ends when what is being sent is sent. */
  close(): Promise<void>
}

export interface CourierDeps {
  readonly database: RoomDatabase
  readonly federation: Federation
  readonly log: { error(what: object, message: string): void }
}

/** Of changes read at once. */
const batch = 50
/** After a peer's outbox was full: twice as long each time, at most so long. */
const againMs = 200
const mostAgainMs = 10_000
const kind = 'room'

/** Begins with what is left of the last run. */
export function createCourier({ database, federation, log }: CourierDeps): Courier {
  const running = new Map<string, Promise<void>>()
  const again = new Set<string>()
  /** How long those wait whose outbox was full. */
  const waits = new Map<string, number>()
  const timers = new Set<NodeJS.Timeout>()
  const closing = new AbortController()

  const send = (mesh: string, frame: Frame) => federation.send(mesh, kind, frame)

  /** What is in no message goes first: who is in, before what they say. */
  const sendOutgoing = async (mesh: string): Promise<boolean> => {
    const next = await database
      .selectFrom('outgoing')
      .selectAll()
      .where('mesh', '=', mesh)
      .orderBy('number')
      .executeTakeFirst()
    if (!next) return false
    await federation.send(mesh, kind, JSON.parse(next.json)).catch((error: unknown) => {
      // A friend no more: there is nobody to be told.
      if (asFailure(error).code !== 'not_found') throw error
    })
    await database.deleteFrom('outgoing').where('number', '=', next.number).execute()
    return true
  }

  const sendChanges = async (mesh: string): Promise<boolean> => {
    const party = await database
      .selectFrom('parties')
      .innerJoin('rooms', 'rooms.id', 'parties.room_id')
      .selectAll('parties')
      .where('parties.mesh', '=', mesh)
      .where('parties.state', '=', 'joined')
      .where('rooms.home', '=', '')
      .whereRef('parties.sent', '<', 'rooms.sequence')
      .executeTakeFirst()
    if (!party) return false
    const room = await database
      .selectFrom('rooms')
      .selectAll()
      .where('id', '=', party.room_id)
      .executeTakeFirst()
    if (!room) return false
    const { changes, until } = await changesFor(database, room, party)
    let { sent, told } = party
    try {
      for (const change of changes) {
        await send(mesh, { ...change, after: told })
        sent = told = change.changed
      }
      sent = until
    } finally {
      // Its outbox may have no room for all of them. Where it asked for the same again, it is further back now.
      await database
        .updateTable('parties')
        .set({ sent, told })
        .where('room_id', '=', room.id)
        .where('mesh', '=', mesh)
        .where('sent', '=', party.sent)
        .execute()
    }
    return true
  }

  const sendOwn = async (mesh: string): Promise<boolean> => {
    const own = await database
      .selectFrom('messages')
      .innerJoin('rooms', 'rooms.id', 'messages.room_id')
      .selectAll('messages')
      .select('rooms.remote')
      .where('rooms.home', '=', mesh)
      .where('rooms.state', '=', 'open')
      .where('messages.mesh', '=', '')
      .whereRef('messages.version', '>', 'messages.sent_version')
      .orderBy('messages.number')
      .limit(batch)
      .execute()
    for (const message of own) {
      // What it is by now: it may have been changed since it was read.
      const now = await messageAt(database, message.room_id, message.id)
      if (!now) continue
      await send(mesh, { type: 'say', room: message.remote, ...contentOf(now) })
      await database
        .updateTable('messages')
        .set({ sent_version: now.version })
        .where('number', '=', now.number)
        .execute()
    }
    return own.length > 0
  }

  const deliver = async (mesh: string): Promise<void> => {
    while (!closing.signal.aborted && federation.peers.some(({ meshId }) => meshId === mesh))
      if (!((await sendOutgoing(mesh)) || (await sendChanges(mesh)) || (await sendOwn(mesh)))) return
  }
  const later = (mesh: string): void => {
    const wait = waits.get(mesh) ?? againMs
    waits.set(mesh, Math.min(2 * wait, mostAgainMs))
    const timer = setTimeout(() => {
      timers.delete(timer)
      wake(mesh)
    }, wait).unref()
    timers.add(timer)
  }
  const wake = (mesh: string): void => {
    if (closing.signal.aborted || mesh === '') return
    if (running.has(mesh)) {
      again.add(mesh)
      return
    }
    const done = deliver(mesh)
      .then(() => void waits.delete(mesh))
      .catch((error: unknown) => {
        const failure = asFailure(error)
        if (failure.code === 'internal') log.error({ err: error }, 'a room’s message could not be sent')
        // Its outbox is full, or ours is ill: what is not marked as sent stays.
        if (!closing.signal.aborted) later(mesh)
      })
      .finally(() => {
        running.delete(mesh)
        if (again.delete(mesh)) wake(mesh)
      })
    running.set(mesh, done)
  }
  /** What was not answered is sent again, and what was not heard is asked for: with a friend that was removed, what waited went. */
  const renew = async (mesh: string): Promise<void> => {
    const rooms = await database
      .selectFrom('rooms')
      .innerJoin('parties', 'parties.room_id', 'rooms.id')
      .select(['rooms.id', 'rooms.remote', 'rooms.state', 'rooms.sequence', 'parties.names'])
      .where('rooms.home', '=', mesh)
      .where('parties.mesh', '=', '')
      .execute()
    for (const { id, remote: room, state, sequence, names } of rooms) {
      if (state === 'joining') await send(mesh, { type: 'accept', room, names: JSON.parse(names) })
      if (state === 'open') await send(mesh, { type: 'sync', room, after: sequence })
      await database
        .updateTable('messages')
        .set(({ ref }) => ({ sent_version: ref('known_version') }))
        .where('room_id', '=', id)
        .where('mesh', '=', '')
        .where('refused', '=', 0)
        .whereRef('sent_version', '>', 'known_version')
        .execute()
    }
  }
  let known: ReadonlySet<string> = new Set()
  const look = (): void => {
    const now = new Set(federation.peers.map(({ meshId }) => meshId))
    for (const mesh of now)
      // What is known has all there was, but for who waits for another try: a thousand are told of by each that comes.
      if (known.has(mesh)) {
        if (waits.has(mesh)) wake(mesh)
      } else
        renew(mesh).then(
          () => wake(mesh),
          () => later(mesh),
        )
    known = now
  }
  const unwatch = federation.watch(look)
  look()
  return {
    wake,
    async close() {
      closing.abort()
      unwatch()
      for (const timer of timers) clearTimeout(timer)
      await Promise.all(running.values())
    },
  }
}

/** But for what was told before it. */
type Untold = Told extends infer Each ? (Each extends Told ? Omit<Each, 'after'> : never) : never

/** What changed since a gateway was told, in order; it is up to date at `until` then. */
async function changesFor(
  database: RoomDatabase,
  room: RoomRow,
  party: PartyRow,
): Promise<{ readonly changes: readonly Untold[]; readonly until: number }> {
  const messages = await database
    .selectFrom('messages')
    .selectAll()
    .where('room_id', '=', room.id)
    .where('changed', '>', party.sent)
    // What was said before it came is not for it, changed or not.
    .where('sequence', '>', party.since)
    .orderBy('changed')
    .limit(batch)
    .execute()
  const parties = await database
    .selectFrom('parties')
    .selectAll()
    .where('room_id', '=', room.id)
    .where('changed', '>', party.sent)
    .where('mesh', '!=', party.mesh)
    .execute()
  const changes: Untold[] = [
    ...messages.map((message) => messageFor(message, room, party.mesh)),
    ...parties.map(({ mesh, label, names, changed }) => ({
      type: 'people' as const,
      room: room.id,
      changed,
      gateway: mesh === '' ? null : { mesh, name: label },
      names: JSON.parse(names),
    })),
    ...(room.changed > party.sent
      ? [{ type: 'name' as const, room: room.id, changed: room.changed, name: room.name }]
      : []),
  ].toSorted((one, other) => one.changed - other.changed)
  const first = changes.slice(0, batch)
  return { changes: first, until: changes.length >= batch ? (first.at(-1)?.changed ?? 0) : room.sequence }
}

function messageFor(message: MessageRow, { id: room }: RoomRow, to: string): Untold {
  const { mesh, changed, sequence } = message
  const from = mesh === '' ? 'home' : mesh === to ? 'you' : { mesh }
  return { type: 'message', room, changed, sequence: sequence ?? changed, from, ...contentOf(message) }
}

function contentOf({ id, version, author, text, at, edited_at, deleted, reply, model }: MessageRow) {
  return { id, version, author, text, at, edited: edited_at, deleted: deleted === 1, reply, model }
}
