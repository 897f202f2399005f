/** Who of this gateway is in a room, and what is said of that to the others. */
import { advance, type Change } from './change.ts'
import type { RoomDatabase, RoomRow, RoomTables } from './database.ts'
import { limits, noSuchRoom, tooMany, type KnownPerson } from './room.ts'
import type { Selectable } from 'kysely'

export type MemberRow = Selectable<RoomTables['members']>

/** The room and the person's part in it. Throws a `Failure` for who is not in it. */
export async function memberIn(
  rows: RoomDatabase,
  room: string,
  person: string,
): Promise<{ readonly room: RoomRow; readonly member: MemberRow }> {
  const member = await rows
    .selectFrom('members')
    .selectAll()
    .where('room_id', '=', room)
    .where('person_id', '=', person)
    .executeTakeFirst()
  const row = member && (await rows.selectFrom('rooms').selectAll().where('id', '=', room).executeTakeFirst())
  if (!row || row.state === 'invited') throw noSuchRoom()
  return { room: row, member }
}

/** Its people of this gateway, the owner first, then in the order in which they came. */
export function membersOf(rows: RoomDatabase, room: string): Promise<MemberRow[]> {
  return rows
    .selectFrom('members')
    .selectAll()
    .where('room_id', '=', room)
    .orderBy('role', 'desc')
    .orderBy('joined_at')
    .orderBy('person_id')
    .execute()
}

export async function addMember(
  { rows, now, touch }: Change,
  room: RoomRow,
  person: string,
  role: MemberRow['role'] = 'member',
): Promise<void> {
  const before = await membersOf(rows, room.id)
  if (before.some(({ person_id }) => person_id === person)) return
  if (before.length >= limits.people)
    throw tooMany(`A room takes ${limits.people} people of one gateway.`, 'Make another room for the others.')
  await rows
    .insertInto('members')
    .values({
      room_id: room.id,
      person_id: person,
      role,
      muted: 0,
      // What was said before is there to be read, and no news.
      read_sequence: room.sequence,
      joined_at: now,
    })
    .execute()
  touch(room.id)
}

/** Tells the others who of ours is in it, where that is not what they know. */
export async function tellOurs(change: Change, room: RoomRow, people: readonly KnownPerson[]): Promise<void> {
  const { rows } = change
  const members = await membersOf(rows, room.id)
  const names = JSON.stringify(namesOf(members, people))
  const own = rows.selectFrom('parties').select('names').where('room_id', '=', room.id).where('mesh', '=', '')
  if ((await own.executeTakeFirst())?.names === names) return
  const changed = room.home === '' ? await advance(change, room.id) : 0
  await rows
    .insertInto('parties')
    .values({
      room_id: room.id,
      mesh: '',
      label: '',
      names,
      state: 'joined',
      changed,
      sent: 0,
      told: 0,
      since: 0,
    })
    .onConflict((conflict) => conflict.columns(['room_id', 'mesh']).doUpdateSet({ names, changed }))
    .execute()
  if (room.home !== '' && room.state !== 'closed')
    await change.tell(room.home, { type: 'names', room: room.remote, names: JSON.parse(names) })
}

/** Whose it is: its owner, or, where that one has left the gateway, the first of the others. */
export function ownerOf(members: readonly MemberRow[], people: readonly KnownPerson[]): string | undefined {
  return members.find(({ person_id: id }) => people.some((one) => one.id === id))?.person_id
}

export function namesOf(members: readonly MemberRow[], people: readonly KnownPerson[]): string[] {
  return members.flatMap(({ person_id: id }) => people.find((one) => one.id === id)?.name ?? [])
}
