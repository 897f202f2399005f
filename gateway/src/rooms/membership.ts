/** What people do with a room besides writing in it: make it, take others in, ask friends in, leave it, end it. */
import { randomUUID } from 'node:crypto'
import type { Federation, Peer } from '#federation/federation.ts'
import { Failure } from '../failure.ts'
import { advance, type Change, type Changing } from './change.ts'
import type { RoomDatabase, RoomRow } from './database.ts'
import { join } from './joining.ts'
import { addMember, memberIn, membersOf, ownerOf, tellOurs } from './members.ts'
import { dismiss, tellEnd, writeParty } from './parties.ts'
import { limits, noSuchRoom, notYours, tooMany, type KnownPerson, type Who } from './room.ts'

export interface RoomWish {
  readonly name: string
  readonly public?: boolean
  readonly instructions?: string
  readonly model?: string | null
}

export interface MembershipDeps {
  readonly changing: Changing
  readonly federation: Federation
  people(): Promise<readonly KnownPerson[]>
}

export type Membership = ReturnType<typeof createMembership>

export function createMembership({ changing, federation, people }: MembershipDeps) {
  const friendNamed = (name: string): Peer => {
    const peer = federation.peers.find((one) => one.name === name)
    if (peer) return peer
    throw new Failure('not_found', `There is no friend named “${name}”.`, undefined, {
      detail: 'friend_missing',
      remedy: 'The list of rooms names those there are.',
    })
  }
  /** Whom one may take in: people of one's own tenant. */
  const within = async (who: Who): Promise<readonly KnownPerson[]> => {
    const all = await people()
    const tenant = all.find(({ id }) => id === who.id)?.tenantId
    return all.filter(({ tenantId }) => tenantId === tenant)
  }
  const personIn = (known: readonly KnownPerson[], id: string): KnownPerson => {
    const person = known.find((one) => one.id === id)
    if (person) return person
    throw new Failure('not_found', 'There is no such person here.', undefined, { detail: 'person_missing' })
  }
  const requireOwner = async (rows: RoomDatabase, who: Who, room: RoomRow): Promise<void> => {
    if (room.home !== '') throw notYours('Of a friend’s room the admin says that.')
    if (ownerOf(await membersOf(rows, room.id), await people()) !== who.id)
      throw notYours('Only the room’s owner may do that.')
  }
  /** For one of ours, by its owner. */
  const owned = async ({ rows }: Change, who: Who, id: string): Promise<RoomRow> => {
    const { room } = await memberIn(rows, id, who.id)
    if (room.home !== '') throw notYours('A room is changed where it was made, by its owner.')
    await requireOwner(rows, who, room)
    return room
  }

  return {
    within,

    create: (who: Who, wish: RoomWish): Promise<string> =>
      changing(async (change) => {
        const { rows, now } = change
        const known = await people()
        const { made } = await rows
          .selectFrom('members')
          .select(({ fn }) => fn.countAll<number>().as('made'))
          .where('person_id', '=', who.id)
          .where('role', '=', 'owner')
          .executeTakeFirstOrThrow()
        if (made >= limits.rooms)
          throw tooMany(`You have ${limits.rooms} rooms, as many as one may.`, 'Delete one that is done.')
        const id = randomUUID()
        const room: RoomRow = {
          id,
          home: '',
          remote: id,
          name: wish.name,
          public: wish.public === true ? 1 : 0,
          instructions: wish.instructions ?? '',
          model: wish.model ?? null,
          sequence: 0,
          changed: 0,
          state: 'open',
          inviter: '',
          created_at: now,
          updated_at: now,
        }
        await rows.insertInto('rooms').values(room).execute()
        await addMember(change, room, who.id, 'owner')
        await tellOurs(change, room, known)
        return id
      }),

    change: (who: Who, id: string, { name, public: open, instructions, model }: Partial<RoomWish>) =>
      changing(async (change) => {
        const { rows } = change
        // What the assistant is told and who it is are each gateway's own.
        const ours = name !== undefined || open !== undefined
        const { room } = await memberIn(rows, id, who.id)
        if (ours) await owned(change, who, id)
        else if (!who.admin) await requireOwner(rows, who, room)
        const renamed = name !== undefined && name !== room.name
        await rows
          .updateTable('rooms')
          .set({
            ...(renamed && { name, changed: await advance(change, id) }),
            ...(open !== undefined && { public: open ? 1 : 0 }),
            ...(instructions !== undefined && { instructions }),
            ...(model !== undefined && { model }),
          })
          .where('id', '=', id)
          .execute()
        change.touch(id)
      }),

    delete: (who: Who, id: string) => changing(async (change) => end(change, await owned(change, who, id))),

    addPerson: (who: Who, id: string, person: string) =>
      changing(async (change) => {
        const { room } = await memberIn(change.rows, id, who.id)
        personIn(await within(who), person)
        await addMember(change, room, person)
        await tellOurs(change, room, await people())
      }),

    /** Oneself: leaves it. The last to leave one of ours ends it. */
    removePerson: (who: Who, id: string, person: string) =>
      changing(async (change) => {
        const { rows } = change
        const { room } = await memberIn(rows, id, who.id)
        // Of a friend's room, the admin says who is in.
        const manages = who.admin && room.home !== ''
        if (person !== who.id && !manages) await requireOwner(rows, who, room)
        await rows.deleteFrom('members').where('room_id', '=', id).where('person_id', '=', person).execute()
        change.left(id, person)
        const rest = await membersOf(rows, id)
        const [heir] = rest
        if (!heir) {
          await end(change, room)
          return
        }
        // Somebody must be able to end it.
        if (room.home === '' && heir.role !== 'owner')
          await rows
            .updateTable('members')
            .set({ role: 'owner' })
            .where('room_id', '=', id)
            .where('person_id', '=', heir.person_id)
            .execute()
        change.touch(id)
        await tellOurs(change, room, await people())
      }),

    /** What is one's own of it: how far one has read, and whether it is muted. */
    setOwn: (
      who: Who,
      id: string,
      { read, muted }: { readonly read?: number | undefined; readonly muted?: boolean | undefined },
    ) =>
      changing(async ({ rows, touch }) => {
        const { room, member } = await memberIn(rows, id, who.id)
        await rows
          .updateTable('members')
          .set({
            ...(read !== undefined && {
              read_sequence: Math.max(member.read_sequence, Math.min(read, room.sequence)),
            }),
            ...(muted !== undefined && { muted: muted ? 1 : 0 }),
          })
          .where('room_id', '=', id)
          .where('person_id', '=', who.id)
          .execute()
        touch(id)
      }),

    /** Asks a friend's people in, or lets one in that asked. */
    inviteFriend: (who: Who, id: string, friend: string) =>
      changing(async (change) => {
        const { rows } = change
        const room = await owned(change, who, id)
        const peer = friendNamed(friend)
        const parties = await rows
          .selectFrom('parties')
          .select(['mesh', 'state'])
          .where('room_id', '=', id)
          .where('mesh', '!=', '')
          .where('state', '!=', 'gone')
          .execute()
        if (parties.some(({ mesh, state }) => mesh === peer.meshId && state === 'joined')) return
        if (parties.length >= limits.gateways && !parties.some(({ mesh }) => mesh === peer.meshId))
          throw tooMany(
            `A room takes ${limits.gateways} gateways.`,
            'Take one out of it that is no longer needed.',
          )
        await writeParty(change, room, peer, { state: 'invited', names: [] })
        await change.tell(peer.meshId, { type: 'invite', room: id, name: room.name, by: who.name })
      }),

    /** Ends a friend's part in it, or says no to its wish. */
    removeFriend: (who: Who, id: string, friend: string) =>
      changing(async (change) => {
        const { rows } = change
        const room = await owned(change, who, id)
        const parties = await rows
          .selectFrom('parties')
          .selectAll()
          .where('room_id', '=', id)
          .where('mesh', '!=', '')
          .execute()
        const labelOf = (mesh: string, label: string) =>
          federation.peers.find(({ meshId }) => meshId === mesh)?.name ?? label
        const party = parties.find(
          ({ mesh, label, state }) => state !== 'gone' && labelOf(mesh, label) === friend,
        )
        if (!party)
          throw new Failure('not_found', `“${friend}” is not in this room.`, undefined, {
            detail: 'friend_missing',
          })
        await dismiss(change, room, party.mesh, party.state)
      }),

    /** Takes up a friend's invitation: says who of ours is in. */
    accept: (who: Who, id: string, ids: readonly string[]) =>
      changing(async (change) => {
        const room = await invitation(change, who, id)
        const known = await within(who)
        await join(
          change,
          room,
          ids.map((one) => personIn(known, one)),
        )
      }),

    decline: (who: Who, id: string) =>
      changing(async (change) => {
        const room = await invitation(change, who, id)
        await end(change, room)
      }),

    /** Asks a friend to be let into one of its public rooms. */
    ask: (who: Who, friend: string, name: string) =>
      changing(async ({ rows, now, list, tell }) => {
        const peer = friendNamed(friend)
        if (!peer.rooms.includes(name))
          throw new Failure('not_found', `${friend} announces no room “${name}”.`, undefined, {
            detail: 'room_missing',
          })
        await rows
          .insertInto('asks')
          .values({ mesh: peer.meshId, name, person_id: who.id, at: now })
          .onConflict((conflict) => conflict.doNothing())
          .execute()
        await tell(peer.meshId, { type: 'ask', name, by: who.name })
        list()
      }),
  }
}

async function invitation({ rows }: Change, who: Who, id: string): Promise<RoomRow> {
  if (!who.admin) throw notYours('The admin says who of this gateway is in a friend’s room.')
  const room = await rows
    .selectFrom('rooms')
    .selectAll()
    .where('id', '=', id)
    .where('state', '=', 'invited')
    .executeTakeFirst()
  if (room) return room
  throw noSuchRoom()
}

/** It is no more here; everybody who is in it is told. */
export async function end(change: Change, room: RoomRow): Promise<void> {
  const { rows } = change
  if (room.home === '') {
    const parties = await rows.selectFrom('parties').selectAll().where('room_id', '=', room.id).execute()
    for (const { mesh, state } of parties) if (mesh !== '') await tellEnd(change, room, mesh, state)
  } else if (room.state !== 'closed') await change.tell(room.home, { type: 'leave', room: room.remote })
  for (const { person_id } of await membersOf(rows, room.id)) change.left(room.id, person_id)
  await rows.deleteFrom('rooms').where('id', '=', room.id).execute()
  change.list()
}
