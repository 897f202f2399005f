/** The gateways of others in a room of ours. */
import type { Peer } from '#federation/federation.ts'
import { advance, type Change } from './change.ts'
import type { PartyRow, RoomRow } from './database.ts'

/** A gateway is in it no more, whatever it was to it. */
export async function dismiss(change: Change, room: RoomRow, mesh: string, state: PartyState): Promise<void> {
  await tellEnd(change, room, mesh, state)
  await dropParty(change, room, mesh, state)
}

/** It is in it no more; the others are told. */
export async function dropParty(
  change: Change,
  room: RoomRow,
  mesh: string,
  state: PartyState,
): Promise<void> {
  const party = change.rows.updateTable('parties').where('room_id', '=', room.id).where('mesh', '=', mesh)
  if (state === 'joined')
    await party.set({ state: 'gone', names: '[]', changed: await advance(change, room.id) }).execute()
  // The others never heard of it.
  else await party.set({ state: 'gone', names: '[]', changed: 0 }).execute()
  change.touch(room.id)
}

type PartyState = PartyRow['state']

/** Tells a gateway that it is in it no more. */
export async function tellEnd(change: Change, room: RoomRow, mesh: string, state: PartyState): Promise<void> {
  if (state === 'asking') await change.tell(mesh, { type: 'declined', name: room.name })
  else if (state !== 'gone') await change.tell(mesh, { type: 'removed', room: room.id })
}

/** A gateway that is no part of what is said yet. */
export async function writeParty(
  { rows, touch }: Change,
  room: RoomRow,
  peer: Pick<Peer, 'meshId' | 'name'>,
  { state, names }: { readonly state: 'invited' | 'asking'; readonly names: readonly string[] },
): Promise<void> {
  const set = { label: peer.name, state, names: JSON.stringify(names) }
  await rows
    .insertInto('parties')
    .values({ room_id: room.id, mesh: peer.meshId, ...set, changed: 0, sent: 0, told: 0, since: 0 })
    .onConflict((conflict) => conflict.columns(['room_id', 'mesh']).doUpdateSet(set))
    .execute()
  touch(room.id)
}
