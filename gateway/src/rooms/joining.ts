/** The way into a friend's room. */
import { Failure } from '../failure.ts'
import type { Change } from './change.ts'
import type { RoomRow } from './database.ts'
import { addMember, membersOf, namesOf } from './members.ts'
import type { KnownPerson } from './room.ts'

/** Into a friend's room: from its home's answer on. */
export async function join(change: Change, room: RoomRow, people: readonly KnownPerson[]): Promise<void> {
  if (people.length === 0) throw new Failure('invalid', 'people: name one at least.')
  for (const { id } of people) await addMember(change, room, id)
  await rejoin(change, room, people)
}

/** Says to its home who of ours is in; its answer is awaited. */
export async function rejoin(change: Change, room: RoomRow, people: readonly KnownPerson[]): Promise<void> {
  const names = namesOf(await membersOf(change.rows, room.id), people)
  await change.rows.updateTable('rooms').set({ state: 'joining' }).where('id', '=', room.id).execute()
  await change.rows
    .insertInto('parties')
    .values({
      room_id: room.id,
      mesh: '',
      label: '',
      names: JSON.stringify(names),
      state: 'joined',
      changed: 0,
      sent: 0,
      told: 0,
      since: 0,
    })
    .onConflict((conflict) =>
      conflict.columns(['room_id', 'mesh']).doUpdateSet({ names: JSON.stringify(names) }),
    )
    .execute()
  await change.tell(room.home, { type: 'accept', room: room.remote, names })
  change.touch(room.id)
  change.list()
}
