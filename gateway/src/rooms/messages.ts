/** What this gateway's people write in rooms: in their place at once in one of ours, on its way to a friend's. */
import { Failure } from '../failure.ts'
import { advance, messageAt, type Change, type Changing } from './change.ts'
import type { MessageRow, RoomDatabase, RoomRow } from './database.ts'
import { memberIn, tellOurs } from './members.ts'
import { checkText, limits, noSuchMessage, notYours, type KnownPerson, type Who } from './room.ts'

export interface NewMessage {
  /** A UUID that its author's client made: sent twice, it is there once. */
  readonly id: string
  readonly text: string
  readonly reply?: string | undefined
  /** The model whose answer it is; whoever called it is its author. */
  readonly model?: string
}

export interface MessagesDeps {
  readonly database: RoomDatabase
  readonly changing: Changing
  people(): Promise<readonly KnownPerson[]>
}

export type Messages = ReturnType<typeof createMessages>

/** So often a room's messages are counted: each time it is looked through. */
const trimEvery = 100

export function createMessages({ database, changing, people }: MessagesDeps) {
  /** One's own that may still be changed. */
  const own = async ({ rows }: Change, who: Who, room: string, id: string): Promise<MessageRow> => {
    const message = await messageAt(rows, room, id)
    if (!message || message.deleted === 1) throw noSuchMessage()
    if (message.person_id !== who.id) throw notYours('This message is somebody else’s.')
    return message
  }
  const rewrite = async (
    change: Change,
    room: RoomRow,
    message: MessageRow,
    next: Partial<Pick<MessageRow, 'text' | 'edited_at' | 'deleted'>>,
  ): Promise<void> => {
    const version = message.version + 1
    await change.rows
      .updateTable('messages')
      .set({
        ...next,
        ...(await placed(change, room, version)),
        version,
        refused: 0,
        revision: change.said(room.id, message.id),
      })
      .where('number', '=', message.number)
      .execute()
  }

  return {
    /** Whether it is new: one that came before stays as it was. Throws a `Failure`. */
    post: (who: Who, id: string, wish: NewMessage): Promise<boolean> =>
      changing(async (change) => {
        const { rows, now } = change
        const { room } = await memberIn(rows, id, who.id)
        const known = await messageAt(rows, id, wish.id)
        if (known && known.person_id !== who.id)
          throw new Failure('conflict', 'id: there is another message of this id. Make a new UUID.')
        if (known) return false
        const text = checkText(wish.text)
        checkOpen(room)
        // Whoever was renamed is known to the others by that name first.
        await tellOurs(change, room, await people())
        const place = await placed(change, room, 1)
        const revision = change.said(id, wish.id)
        await rows
          .insertInto('messages')
          .values({
            changed: 0,
            sent_version: 0,
            known_version: 0,
            ...place,
            room_id: id,
            id: wish.id,
            sequence: place.changed ?? null,
            version: 1,
            mesh: '',
            author: who.name,
            person_id: who.id,
            model: wish.model ?? null,
            reply: wish.reply ?? null,
            text,
            at: now,
            edited_at: null,
            deleted: 0,
            refused: 0,
            revision,
          })
          .execute()
        await trim(change, id, revision)
        return true
      }),

    edit: (who: Who, id: string, message: string, text: string) =>
      changing(async (change) => {
        const { room } = await memberIn(change.rows, id, who.id)
        const before = await own(change, who, id, message)
        if (before.model !== null) throw notYours('What the assistant wrote stays as it is, or goes.')
        const next = checkText(text)
        checkOpen(room)
        if (next !== before.text) await rewrite(change, room, before, { text: next, edited_at: change.now })
      }),

    delete: (who: Who, id: string, message: string) =>
      changing(async (change) => {
        const { room } = await memberIn(change.rows, id, who.id)
        const before = await own(change, who, id, message)
        checkOpen(room)
        await rewrite(change, room, before, { text: '', deleted: 1 })
      }),

    /** Those right before a place, else the last and those that have none yet; in order. */
    async page(
      who: Who,
      id: string,
      { before, limit }: { readonly before?: number | undefined; readonly limit: number },
    ): Promise<{ readonly rows: MessageRow[]; readonly earlier: boolean }> {
      await memberIn(database, id, who.id)
      let query = database
        .selectFrom('messages')
        .selectAll()
        .where('room_id', '=', id)
        .where('sequence', 'is not', null)
      if (before !== undefined) query = query.where('sequence', '<', before)
      const found = await query
        .orderBy('sequence', 'desc')
        .limit(limit + 1)
        .execute()
      const waiting =
        before === undefined
          ? await database
              .selectFrom('messages')
              .selectAll()
              .where('room_id', '=', id)
              .where('sequence', 'is', null)
              .orderBy('number')
              .execute()
          : []
      return {
        rows: [...found.slice(0, limit).toReversed(), ...waiting],
        earlier: found.length > limit,
      }
    },
  }
}

/** What a change of ours is at once: in its place where the room is ours, else on its way. */
async function placed(
  change: Change,
  room: RoomRow,
  version: number,
): Promise<{ readonly changed?: number; readonly sent_version?: number; readonly known_version?: number }> {
  if (room.home === '')
    return { changed: await advance(change, room.id), sent_version: version, known_version: version }
  change.wake(room.home)
  await change.rows.updateTable('rooms').set({ updated_at: change.now }).where('id', '=', room.id).execute()
  return {}
}

function checkOpen({ state }: RoomRow): void {
  if (state === 'closed')
    throw new Failure('conflict', 'This room is closed: its home has ended it.', undefined, {
      detail: 'room_closed',
      remedy: 'It can be read, and left.',
    })
}

/** Lets the oldest messages of a full room go; not with each that comes. */
export async function trim({ rows }: Change, room: string, revision: number): Promise<void> {
  if (revision % trimEvery !== 0) return
  const { count } = await rows
    .selectFrom('messages')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('room_id', '=', room)
    .executeTakeFirstOrThrow()
  if (count <= limits.messages) return
  await rows
    .deleteFrom('messages')
    .where('number', 'in', (oldest) =>
      oldest
        .selectFrom('messages')
        .select('number')
        .where('room_id', '=', room)
        .where('sequence', 'is not', null)
        .orderBy('sequence')
        .limit(count - limits.messages),
    )
    .execute()
}
