/** Rooms and messages as one person sees them. */
import type { Federation } from '#federation/federation.ts'
import type { Room, RoomAuthor, RoomGateway, RoomList, RoomMessage } from '#protocol/rooms.ts'
import type { MessageRow, PartyRow, RoomDatabase, RoomRow } from './database.ts'
import { membersOf, ownerOf, type MemberRow } from './members.ts'
import { limits, type KnownPerson, type Who } from './room.ts'

export interface ViewDeps {
  readonly database: RoomDatabase
  readonly federation: Federation
  people(): Promise<readonly KnownPerson[]>
}

export type View = ReturnType<typeof createView>

/** Of the last message, in a list. */
const longestGlimpse = 120

export function createView({ database, federation, people }: ViewDeps) {
  const peerOf = (mesh: string) => federation.peers.find(({ meshId }) => meshId === mesh)
  /** A friend that is one no more is known by what it was called. */
  const nameOf = (mesh: string, label: string): string => peerOf(mesh)?.name ?? (label || mesh.slice(0, 8))

  const roomOf = async (
    who: Who,
    room: RoomRow,
    member: MemberRow,
    known: readonly KnownPerson[],
  ): Promise<Room> => {
    const ours = room.home === ''
    const peer = peerOf(room.home)
    const parties = await partiesOf(database, room.id)
    const gateways = parties.flatMap((party): RoomGateway[] => {
      const { mesh, label, state } = party
      if (mesh === '' || state === 'gone') return []
      // Of another in a friend's room we know what the friend says.
      const own = ours || mesh === room.home
      return [
        {
          name: own ? nameOf(mesh, label) : label,
          via: own ? null : nameOf(room.home, ''),
          state,
          connected: own ? (peerOf(mesh)?.connected ?? false) : (peer?.connected ?? false),
          people: namesIn(party),
        },
      ]
    })
    const { unread } = await database
      .selectFrom('messages')
      .select(({ fn }) => fn.countAll<number>().as('unread'))
      .where('room_id', '=', room.id)
      .where('sequence', '>', member.read_sequence)
      .where('deleted', '=', 0)
      .where((row) => row.or([row('person_id', 'is', null), row('person_id', '!=', who.id)]))
      .executeTakeFirstOrThrow()
    const last = await lastOf(database, room.id)
    const rows = await membersOf(database, room.id)
    // Nobody owns a friend's room.
    const owner = ours ? ownerOf(rows, known) : undefined
    const roleOf = (person: string) => (person === owner ? 'owner' : 'member')
    const members = rows.flatMap(({ person_id: person }) => {
      const name = known.find(({ id }) => id === person)?.name
      return name === undefined ? [] : [{ person, name, role: roleOf(person) } as const]
    })
    return {
      id: room.id,
      name: room.name,
      home: ours ? null : nameOf(room.home, ''),
      connected: ours || peer?.connected === true,
      state: room.state === 'closed' || (!ours && !peer) ? 'closed' : 'open',
      role: roleOf(who.id),
      public: room.public === 1,
      instructions: room.instructions,
      model: room.model,
      muted: member.muted === 1,
      unread,
      sequence: room.sequence,
      last: last
        ? {
            author: last.model ?? last.author,
            text: last.text.slice(0, longestGlimpse).toWellFormed(),
            at: time(last.at),
          }
        : null,
      updatedAt: time(room.updated_at),
      members,
      gateways,
    }
  }

  const authorOf = (
    message: Pick<MessageRow, 'mesh' | 'author' | 'person_id'>,
    room: RoomRow,
    parties: readonly PartyRow[],
  ): RoomAuthor => {
    const { mesh, author: name, person_id: person } = message
    if (mesh === '') return { name, gateway: null, via: null, person }
    const label = parties.find((party) => party.mesh === mesh)?.label ?? ''
    const own = room.home === '' || mesh === room.home
    return {
      name,
      gateway: own ? nameOf(mesh, label) : label || mesh.slice(0, 8),
      via: own ? null : nameOf(room.home, ''),
      person: null,
    }
  }

  return {
    /** Rooms of a person's; with `ids`, of these those that it is in. */
    async rooms(who: Who, ids?: readonly string[]): Promise<Room[]> {
      const known = await people()
      let query = database
        .selectFrom('rooms')
        .innerJoin('members', 'members.room_id', 'rooms.id')
        .selectAll('rooms')
        .where('members.person_id', '=', who.id)
        .where('rooms.state', '!=', 'invited')
      if (ids) query = query.where('rooms.id', 'in', ids)
      const rows = await query.orderBy('rooms.updated_at', 'desc').orderBy('rooms.id').execute()
      const members = await database
        .selectFrom('members')
        .selectAll()
        .where('person_id', '=', who.id)
        .execute()
      const found: Room[] = []
      for (const room of rows) {
        const member = members.find(({ room_id }) => room_id === room.id)
        if (member) found.push(await roomOf(who, room, member, known))
      }
      return found
    },

    async list(who: Who): Promise<Omit<RoomList, 'rooms'>> {
      const invitations = who.admin
        ? await database
            .selectFrom('rooms')
            .selectAll()
            .where('state', '=', 'invited')
            .orderBy('created_at')
            .execute()
        : []
      const asks = await database
        .selectFrom('asks')
        .selectAll()
        .where('person_id', '=', who.id)
        .orderBy('at')
        .execute()
      return {
        self: { person: who.id, name: who.name },
        invitations: invitations.map(({ id, name, home, inviter }) => ({
          id,
          name,
          friend: nameOf(home, ''),
          by: inviter,
        })),
        asked: asks.map(({ mesh, name }) => ({ friend: nameOf(mesh, ''), name })),
        friends: federation.peers
          .toSorted((one, other) => Number(other.connected) - Number(one.connected))
          .slice(0, limits.shown)
          .map(({ name, connected, rooms }) => ({ name, connected, rooms })),
      }
    },

    async messages(rows: readonly MessageRow[]): Promise<RoomMessage[]> {
      const ids = [...new Set(rows.map(({ room_id }) => room_id))]
      if (ids.length === 0) return []
      const rooms = await database.selectFrom('rooms').selectAll().where('id', 'in', ids).execute()
      const parties = await database.selectFrom('parties').selectAll().where('room_id', 'in', ids).execute()
      return rows.flatMap((row) => {
        const room = rooms.find(({ id }) => id === row.room_id)
        if (!room) return []
        const own = parties.filter(({ room_id }) => room_id === room.id)
        return [messageOf(row, room.home, authorOf(row, room, own))]
      })
    },
  }
}

function messageOf(row: MessageRow, home: string, author: RoomAuthor): RoomMessage {
  const waits = home !== '' && row.mesh === '' && row.known_version < row.version
  return {
    id: row.id,
    room: row.room_id,
    sequence: row.sequence,
    revision: row.revision,
    author,
    model: row.model,
    text: row.text,
    at: time(row.at),
    editedAt: row.edited_at === null ? null : time(row.edited_at),
    deleted: row.deleted === 1,
    reply: row.reply,
    state: row.refused === 1 ? 'refused' : waits ? 'pending' : 'sent',
  }
}

/** What waits for its place comes after what has one. */
async function lastOf(database: RoomDatabase, room: string): Promise<MessageRow | undefined> {
  const there = database
    .selectFrom('messages')
    .selectAll()
    .where('room_id', '=', room)
    .where('deleted', '=', 0)
  return (
    (await there.where('sequence', 'is', null).orderBy('number', 'desc').executeTakeFirst()) ??
    there.where('sequence', 'is not', null).orderBy('sequence', 'desc').executeTakeFirst()
  )
}

function partiesOf(database: RoomDatabase, room: string): Promise<PartyRow[]> {
  return database.selectFrom('parties').selectAll().where('room_id', '=', room).orderBy('label').execute()
}

function namesIn({ names }: PartyRow): string[] {
  const read: unknown = JSON.parse(names)
  return Array.isArray(read) ? read.filter((name) => typeof name === 'string') : []
}

function time(at: number): string {
  return new Date(at).toISOString()
}
