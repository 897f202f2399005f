/** What a gateway does with what the home of a friend's room sends it. */
import { randomUUID } from 'node:crypto'
import type { Federation, Peer } from '#federation/federation.ts'
import { messageAt, roomAt, type Change } from './change.ts'
import type { RoomRow } from './database.ts'
import { join, rejoin } from './joining.ts'
import { membersOf } from './members.ts'
import { end } from './membership.ts'
import { trim } from './messages.ts'
import { fits, limits, type KnownPerson } from './room.ts'
import type { FromHome, Told } from './wire.ts'

type Message = Extract<FromHome, { type: 'message' }>

/** Between two wishes to hear the same again, ms. */
const syncRestMs = 30_000

export interface GuestDeps {
  readonly federation: Pick<Federation, 'self'>
  people(): Promise<readonly KnownPerson[]>
}

/** Takes what a home sends. What is not its to say changes nothing. */
export function createGuest({ federation, people }: GuestDeps) {
  const asked = new Map<string, number>()

  const sync = async ({ now, tell }: Change, { id, home, remote, sequence }: RoomRow): Promise<void> => {
    if ((asked.get(id) ?? -Infinity) > now - syncRestMs) return
    if (asked.size > 1_000) asked.clear()
    asked.set(id, now)
    await tell(home, { type: 'sync', room: remote, after: sequence })
  }

  return async (change: Change, from: Peer, frame: FromHome): Promise<void> => {
    const { rows } = change
    if (frame.type === 'invite') return invited(change, from, frame, await people())
    if (frame.type === 'declined') {
      await rows.deleteFrom('asks').where('mesh', '=', from.meshId).where('name', '=', frame.name).execute()
      change.list()
      return
    }
    const room = await roomAt(rows, from.meshId, frame.room)
    if (!room) return
    change.touch(room.id)
    if (frame.type === 'removed') return removed(change, room)
    if (frame.type === 'welcome') return welcomed(change, room, frame)
    if (frame.type === 'refused') return refused(change, room, frame)
    if (room.state !== 'open') return
    if (frame.after > room.sequence) return sync(change, room)
    asked.delete(room.id)
    await apply(change, room, frame, federation.self.meshId)
    await rows
      .updateTable('rooms')
      .set({ sequence: Math.max(room.sequence, frame.changed), updated_at: change.now })
      .where('id', '=', room.id)
      .execute()
  }
}

async function invited(
  change: Change,
  from: Peer,
  { room: remote, name, by }: Extract<FromHome, { type: 'invite' }>,
  people: readonly KnownPerson[],
): Promise<void> {
  const { rows, now } = change
  const known = await roomAt(rows, from.meshId, remote)
  // It has forgotten that we are in.
  if (known?.state === 'open' || known?.state === 'joining') return rejoin(change, known, people)
  const room: RoomRow = known ?? {
    id: randomUUID(),
    home: from.meshId,
    remote,
    name,
    public: 0,
    instructions: '',
    model: null,
    sequence: 0,
    changed: 0,
    state: 'invited',
    inviter: by,
    created_at: now,
    updated_at: now,
  }
  if (known)
    await rows
      .updateTable('rooms')
      .set({ name, inviter: by, state: 'invited' })
      .where('id', '=', known.id)
      .execute()
  else {
    const { waiting } = await rows
      .selectFrom('rooms')
      .select(({ fn }) => fn.countAll<number>().as('waiting'))
      .where('home', '=', from.meshId)
      .where('state', '=', 'invited')
      .executeTakeFirstOrThrow()
    if (waiting >= limits.waiting) {
      await change.tell(from.meshId, { type: 'leave', room: remote })
      return
    }
    await rows.insertInto('rooms').values(room).execute()
  }
  change.touch(room.id)
  change.list()
  const asks = await rows
    .deleteFrom('asks')
    .where('mesh', '=', from.meshId)
    .where('name', '=', name)
    .returning('person_id')
    .execute()
  const askers = people.filter(({ id }) => asks.some(({ person_id }) => person_id === id))
  if (askers.length > 0) await join(change, room, askers.slice(0, limits.people))
}

/** An invitation is nothing any more; what was said stays to be read. */
async function removed(change: Change, room: RoomRow): Promise<void> {
  const members = await membersOf(change.rows, room.id)
  if (members.length === 0) return end(change, { ...room, state: 'closed' })
  await change.rows.updateTable('rooms').set({ state: 'closed' }).where('id', '=', room.id).execute()
  const unheard = await change.rows
    .selectFrom('messages')
    .select(['number', 'id'])
    .where('room_id', '=', room.id)
    .where('mesh', '=', '')
    .whereRef('known_version', '<', 'version')
    .execute()
  for (const { number, id } of unheard)
    await change.rows
      .updateTable('messages')
      .set(({ ref }) => ({ refused: 1, sent_version: ref('version'), revision: change.said(room.id, id) }))
      .where('number', '=', number)
      .execute()
  change.list()
}

async function welcomed(
  { rows, wake }: Change,
  room: RoomRow,
  { name, sequence }: Extract<FromHome, { type: 'welcome' }>,
): Promise<void> {
  if (room.state !== 'joining') return
  await rows.updateTable('rooms').set({ state: 'open', name, sequence }).where('id', '=', room.id).execute()
  // What was said before is no news.
  await rows
    .updateTable('members')
    .set({ read_sequence: sequence })
    .where('room_id', '=', room.id)
    .where('read_sequence', '<', sequence)
    .execute()
  await rows.deleteFrom('parties').where('room_id', '=', room.id).where('mesh', '!=', '').execute()
  wake(room.home)
}

async function refused(
  { rows, said }: Change,
  room: RoomRow,
  { id, version }: Extract<FromHome, { type: 'refused' }>,
): Promise<void> {
  const known = await messageAt(rows, room.id, id)
  if (known?.mesh !== '' || known.version !== version) return
  await rows
    .updateTable('messages')
    .set({ refused: 1, revision: said(room.id, id) })
    .where('number', '=', known.number)
    .execute()
}

async function apply(change: Change, room: RoomRow, told: Told, self: string): Promise<void> {
  const { rows } = change
  if (told.type === 'message') return hear(change, room, told, self)
  if (told.type === 'name') {
    await rows.updateTable('rooms').set({ name: told.name }).where('id', '=', room.id).execute()
    return
  }
  const { gateway, changed } = told
  // Who of ours is in it, we say.
  if (gateway?.mesh === self || gateway?.mesh === '') return
  const mesh = gateway?.mesh ?? room.home
  const party = { label: gateway?.name ?? '', names: JSON.stringify(told.names), changed }
  const gone = rows.deleteFrom('parties').where('room_id', '=', room.id).where('mesh', '=', mesh)
  await gone.execute()
  const { count } = await rows
    .selectFrom('parties')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('room_id', '=', room.id)
    .executeTakeFirstOrThrow()
  if (told.names.length === 0 || count > limits.gateways + 1) return
  await rows
    .insertInto('parties')
    .values({ room_id: room.id, mesh, ...party, state: 'joined', sent: 0, told: 0, since: 0 })
    .execute()
}

/** Our own people's words come back with their place, and with nothing else: nobody puts words into their mouths. */
async function hear(change: Change, room: RoomRow, message: Message, self: string): Promise<void> {
  const { rows, now, said } = change
  const { changed, sequence } = message
  const known = await messageAt(rows, room.id, message.id)
  if (message.from === 'you') {
    if (known?.mesh !== '') return
    await rows
      .updateTable('messages')
      .set({
        sequence,
        changed,
        known_version: Math.max(known.known_version, message.version),
        refused: 0,
        revision: said(room.id, message.id),
      })
      .where('number', '=', known.number)
      .execute()
    return
  }
  const mesh = message.from === 'home' ? room.home : message.from.mesh
  if (mesh === self || mesh === '' || (message.from !== 'home' && mesh === room.home)) return
  if (!fits(message.text) || (message.text.trim() === '' && !message.deleted)) return
  if (known && (known.mesh !== mesh || known.changed >= changed)) return
  const revision = said(room.id, message.id)
  const content = {
    version: message.version,
    sent_version: message.version,
    known_version: message.version,
    text: message.deleted ? '' : message.text,
    edited_at: message.edited,
    deleted: message.deleted ? 1 : 0,
    changed,
    revision,
  }
  if (known) await rows.updateTable('messages').set(content).where('number', '=', known.number).execute()
  else
    await rows
      .insertInto('messages')
      .values({
        ...content,
        room_id: room.id,
        id: message.id,
        sequence,
        mesh,
        author: message.author,
        person_id: null,
        model: message.model,
        reply: message.reply,
        at: Math.min(message.at, now),
        refused: 0,
      })
      .execute()
  await trim(change, room.id, revision)
}
