/** What a room's home does with what the gateways of others send: it gives each message its place, or refuses it. */
import type { Peer } from '#federation/federation.ts'
import { advance, messageAt, roomAt, type Change } from './change.ts'
import type { PartyRow, RoomRow } from './database.ts'
import { trim } from './messages.ts'
import { dropParty, writeParty } from './parties.ts'
import { fits, limits } from './room.ts'
import type { ToHome } from './wire.ts'

type Say = Extract<ToHome, { type: 'say' }>

/** How often one may ask for the same again, ms: all of it may be sent for it. */
const syncRestMs = 10_000

/** Takes what a gateway sends to the home of a room. What it may not, it is told, or nothing happens. */
export function createHome() {
  /** When each asked last, by room and mesh. */
  const synced = new Map<string, number>()

  const sync = async ({ rows, now, wake }: Change, room: RoomRow, party: PartyRow, after: number) => {
    const key = `${room.id} ${party.mesh}`
    if ((synced.get(key) ?? -Infinity) > now - syncRestMs) return
    if (synced.size > 1_000) synced.clear()
    synced.set(key, now)
    const sent = Math.max(party.since, Math.min(party.sent, after))
    await rows
      .updateTable('parties')
      .set({ sent, told: sent })
      .where('room_id', '=', room.id)
      .where('mesh', '=', party.mesh)
      .execute()
    wake(party.mesh)
  }

  return async (change: Change, from: Peer, frame: ToHome): Promise<void> => {
    const { rows } = change
    if (frame.type === 'ask') return asked(change, from, frame)
    const room = await roomAt(rows, '', frame.room)
    const party =
      room &&
      (await rows
        .selectFrom('parties')
        .selectAll()
        .where('room_id', '=', room.id)
        .where('mesh', '=', from.meshId)
        .executeTakeFirst())
    if (frame.type === 'accept') {
      if (!room || !party || (party.state !== 'invited' && party.state !== 'joined')) {
        await change.tell(from.meshId, { type: 'removed', room: frame.room })
        return
      }
      return welcome(change, room, party, from, frame.names)
    }
    if (frame.type === 'say') return hear(change, from, frame, room, party)
    if (!room || !party) return
    if (frame.type === 'leave') return dropParty(change, room, party.mesh, party.state)
    if (party.state !== 'joined') return
    if (frame.type === 'sync') return sync(change, room, party, frame.after)
    await setNames(change, party, frame.names)
  }
}

async function asked(change: Change, from: Peer, { name, by }: Extract<ToHome, { type: 'ask' }>) {
  const { rows, tell } = change
  const room = await rows
    .selectFrom('rooms')
    .selectAll()
    .where('home', '=', '')
    .where('public', '=', 1)
    .where('name', '=', name)
    .orderBy('created_at')
    .executeTakeFirst()
  const parties = await rows
    .selectFrom('parties')
    .select(['room_id', 'state'])
    .where('mesh', '=', from.meshId)
    .execute()
  const state = parties.find(({ room_id }) => room_id === room?.id)?.state
  const waiting = parties.filter((party) => party.state === 'asking').length
  if (!room || (waiting >= limits.waiting && state === undefined)) {
    await tell(from.meshId, { type: 'declined', name })
    return
  }
  if (state === 'joined' || state === 'invited')
    await tell(from.meshId, { type: 'invite', room: room.id, name: room.name, by })
  else await writeParty(change, room, from, { state: 'asking', names: [by] })
}

/** It is in from here on; everybody hears of everybody anew. */
async function welcome(
  change: Change,
  room: RoomRow,
  party: PartyRow,
  from: Peer,
  names: readonly string[],
): Promise<void> {
  const { rows } = change
  const since = party.state === 'joined' ? party.since : room.sequence
  await rows
    .updateTable('parties')
    .set({ state: 'joined', label: from.name, names: JSON.stringify(names), since, sent: since, told: since })
    .where('room_id', '=', room.id)
    .where('mesh', '=', party.mesh)
    .execute()
  const parties = await rows
    .selectFrom('parties')
    .select('mesh')
    .where('room_id', '=', room.id)
    .where('state', '=', 'joined')
    .execute()
  for (const { mesh } of parties)
    await rows
      .updateTable('parties')
      .set({ changed: await advance(change, room.id) })
      .where('room_id', '=', room.id)
      .where('mesh', '=', mesh)
      .execute()
  await change.tell(from.meshId, { type: 'welcome', room: room.id, name: room.name, sequence: since })
}

async function setNames(change: Change, party: PartyRow, wanted: readonly string[]): Promise<void> {
  const names = JSON.stringify(wanted)
  if (names === party.names) return
  await change.rows
    .updateTable('parties')
    .set({ names, changed: await advance(change, party.room_id) })
    .where('room_id', '=', party.room_id)
    .where('mesh', '=', party.mesh)
    .execute()
}

/** The gateway that sent it vouches for its own people, and for nobody else. */
async function hear(
  change: Change,
  from: Peer,
  say: Say,
  room: RoomRow | undefined,
  party: PartyRow | undefined,
): Promise<void> {
  const { rows, now } = change
  const refuse = () =>
    change.tell(from.meshId, { type: 'refused', room: say.room, id: say.id, version: say.version })
  if (!room || party?.state !== 'joined' || !namesIn(party).includes(say.author)) return refuse()
  if (!fits(say.text) || (say.text.trim() === '' && !say.deleted)) return refuse()
  const known = await messageAt(rows, room.id, say.id)
  if (known && (known.mesh !== from.meshId || known.author !== say.author)) return refuse()
  // It came before.
  if (known && known.version >= say.version) return
  const sequence = await advance(change, room.id)
  const revision = change.said(room.id, say.id)
  const content = {
    version: say.version,
    sent_version: say.version,
    known_version: say.version,
    text: say.deleted ? '' : say.text,
    edited_at: say.edited,
    deleted: say.deleted ? 1 : 0,
    changed: sequence,
    revision,
  }
  if (known) await rows.updateTable('messages').set(content).where('number', '=', known.number).execute()
  else
    await rows
      .insertInto('messages')
      .values({
        ...content,
        room_id: room.id,
        id: say.id,
        sequence,
        mesh: from.meshId,
        author: say.author,
        person_id: null,
        model: say.model,
        reply: say.reply,
        // Whoever was away wrote it earlier; nobody writes later than now.
        at: Math.min(say.at, now),
        refused: 0,
      })
      .execute()
  await trim(change, room.id, revision)
}

function namesIn({ names }: PartyRow): readonly unknown[] {
  const read: unknown = JSON.parse(names)
  return Array.isArray(read) ? read : []
}
