/** Changes of rooms: each is one transaction, and who follows is told when it is on disk. */
import { isPostgres } from '@sotto/provisioning/database.ts'
import type { Transaction } from 'kysely'
import type { MessageRow, RoomDatabase, RoomRow, RoomTables } from './database.ts'
import type { Frame } from './wire.ts'

export interface Change {
  readonly rows: Transaction<RoomTables>
  readonly now: number
  /** The room's own row, its members or its gateways are others now. */
  touch(room: string): void
  /** A person is in it no more. */
  left(room: string, person: string): void
  /** Takes the next revision for a message that changes. */
  said(room: string, id: string): number
  /** Invitations and wishes to join are others now. */
  list(): void
  /** A peer has something to be told. */
  wake(mesh: string): void
  /** Something for a peer that is in no message. */
  tell(mesh: string, frame: Frame): Promise<void>
}

/** What a change was, when it is on disk. */
export interface Changed {
  readonly rooms: ReadonlySet<string>
  readonly left: readonly { readonly room: string; readonly person: string }[]
  readonly messages: readonly { readonly room: string; readonly id: string }[]
  readonly lists: boolean
  readonly peers: ReadonlySet<string>
}

export type Changing = <T>(task: (change: Change) => Promise<T>) => Promise<T>

/** @param told called after each change that is on disk */
export async function createChanging(
  database: RoomDatabase,
  told: (changed: Changed) => void,
): Promise<Changing> {
  let revision = await lastRevision(database)
  // Where the database is PostgreSQL, other gateways may write there, too.
  const shared = isPostgres(database)
  return async (task) => {
    const rooms = new Set<string>()
    const left: Changed['left'][number][] = []
    const messages: Changed['messages'][number][] = []
    const peers = new Set<string>()
    let lists = false
    const result = await database.transaction().execute(async (rows) => {
      if (shared) revision = Math.max(revision, await lastRevision(rows))
      return task({
        rows,
        now: Date.now(),
        touch: (room) => void rooms.add(room),
        left: (room, person) => void left.push({ room, person }),
        said(room, id) {
          messages.push({ room, id })
          rooms.add(room)
          revision += 1
          return revision
        },
        list() {
          lists = true
        },
        wake: (mesh) => void peers.add(mesh),
        async tell(mesh, frame) {
          peers.add(mesh)
          await rows
            .insertInto('outgoing')
            .values({ mesh, json: JSON.stringify(frame) })
            .execute()
        },
      })
    })
    told({ rooms, left, messages, lists, peers })
    return result
  }
}

async function lastRevision(rows: RoomDatabase): Promise<number> {
  const { last } = await rows
    .selectFrom('messages')
    .select(({ fn }) => fn.max('revision').as('last'))
    .executeTakeFirstOrThrow()
  return last ?? 0
}

/** Gives a room of ours the next number, and wakes all that hear of it. */
export async function advance(change: Change, room: string): Promise<number> {
  const { sequence } = await change.rows
    .updateTable('rooms')
    .set(({ eb }) => ({ sequence: eb('sequence', '+', 1), updated_at: change.now }))
    .where('id', '=', room)
    .returning('sequence')
    .executeTakeFirstOrThrow()
  const parties = await change.rows
    .selectFrom('parties')
    .select('mesh')
    .where('room_id', '=', room)
    .where('state', '=', 'joined')
    .where('mesh', '!=', '')
    .execute()
  for (const { mesh } of parties) change.wake(mesh)
  change.touch(room)
  return sequence
}

/** A room by its id at its home, where it is kept by that gateway; empty `home` for ours. */
export function roomAt(rows: RoomDatabase, home: string, remote: string): Promise<RoomRow | undefined> {
  return rows
    .selectFrom('rooms')
    .selectAll()
    .where('home', '=', home)
    .where('remote', '=', remote)
    .executeTakeFirst()
}

export function messageAt(rows: RoomDatabase, room: string, id: string): Promise<MessageRow | undefined> {
  return rows
    .selectFrom('messages')
    .selectAll()
    .where('room_id', '=', room)
    .where('id', '=', id)
    .executeTakeFirst()
}
