/** What happens in rooms, for the pages of those who are in them; what was missed in between comes first. */
import type { RoomDraft, RoomEvent } from '#protocol/rooms.ts'
import type { Changed } from './change.ts'
import type { MessageRow, RoomDatabase } from './database.ts'
import type { Who } from './room.ts'
import type { View } from './view.ts'

/** @param revision to go on from, where the event brings one forward */
export type RoomListener = (event: RoomEvent, revision?: number) => void

export interface News {
  /**
   * @param since the last revision that came; undefined for none
   * @param drafts what is being written now
   * @returns what ends it
   */
  follow(who: Who, listener: RoomListener, since: number | undefined, drafts: readonly Written[]): () => void
  changed(changed: Changed): void
  /** Friends are others, or came or went. */
  friends(): void
  /** @param only who alone is told */
  draft(draft: RoomDraft, only?: string): void
  close(): Promise<void>
}

/** A draft, and the person who alone is told of it. */
export interface Written {
  readonly draft: RoomDraft
  readonly only?: string | undefined
}

interface Follower {
  readonly who: Who
  tell: RoomListener
}

/** What comes within that is told at once, ms: nobody sees the difference. */
const gatherMs = 20
/** Who missed more reads anew. */
const mostMissed = 500

export function createNews(
  database: RoomDatabase,
  view: View,
  log: { error(what: object, message: string): void },
): News {
  const followers = new Set<Follower>()
  let waiting: Changed[] = []
  let everybody = false
  let timer: NodeJS.Timeout | undefined
  let telling: Promise<unknown> = Promise.resolve()

  const inRoom = async (room: string): Promise<ReadonlySet<string>> => {
    const members = await database
      .selectFrom('members')
      .select('person_id')
      .where('room_id', '=', room)
      .execute()
    return new Set(members.map(({ person_id }) => person_id))
  }
  const tellMessages = async (rows: readonly MessageRow[], to: readonly Follower[]): Promise<void> => {
    const messages = (await view.messages(rows)).toSorted((one, other) => one.revision - other.revision)
    for (const message of messages) {
      const members = await inRoom(message.room)
      for (const { who, tell } of to)
        if (members.has(who.id)) tell({ type: 'message', message }, message.revision)
    }
  }
  const list = async (who: Who) => ({ ...(await view.list(who)), rooms: await view.rooms(who) })
  const flush = async (): Promise<void> => {
    const all = waiting
    const lists = everybody || all.some((changed) => changed.lists)
    waiting = []
    everybody = false
    timer = undefined
    if (followers.size === 0) return
    const said = all.flatMap(({ messages }) => messages)
    const rows = await Promise.all(
      said.map(({ room, id }) =>
        database
          .selectFrom('messages')
          .selectAll()
          .where('room_id', '=', room)
          .where('id', '=', id)
          .executeTakeFirst(),
      ),
    )
    const there = new Map(rows.flatMap((row) => (row ? [[row.number, row] as const] : [])))
    await tellMessages([...there.values()], [...followers])
    const rooms = [...new Set(all.flatMap((changed) => [...changed.rooms]))]
    for (const { who, tell } of followers) {
      for (const { room, person } of all.flatMap(({ left }) => left))
        if (person === who.id) tell({ type: 'gone', room })
      if (lists) tell({ type: 'list', list: await list(who) })
      else if (rooms.length > 0) for (const room of await view.rooms(who, rooms)) tell({ type: 'room', room })
    }
  }
  const soon = (): void => {
    timer ??= setTimeout(() => {
      telling = telling
        .then(flush)
        .catch((error: unknown) => log.error({ err: error }, 'the news of rooms could not be told'))
    }, gatherMs)
  }
  const begin = async (follower: Follower, since: number | undefined): Promise<void> => {
    const { last } = await database
      .selectFrom('messages')
      .select(({ fn }) => fn.max('revision').as('last'))
      .executeTakeFirstOrThrow()
    const now = last ?? 0
    // After a restore its revisions may be ahead of ours.
    const known = since === undefined || since > now ? undefined : since
    const missed =
      known === undefined
        ? []
        : await database
            .selectFrom('messages')
            .selectAll()
            .where('revision', '>', known)
            .where('room_id', 'in', (rooms) =>
              rooms.selectFrom('members').select('room_id').where('person_id', '=', follower.who.id),
            )
            .orderBy('revision')
            .limit(mostMissed + 1)
            .execute()
    const tooMany = missed.length > mostMissed || (since !== undefined && known === undefined)
    const hello = { type: 'hello', list: await list(follower.who), missed: tooMany } as const
    follower.tell(hello, tooMany || known === undefined ? now : known)
    if (!tooMany) await tellMessages(missed, [follower])
  }
  return {
    follow(who, listener, since, drafts) {
      const before: (() => void)[] = []
      const follower: Follower = {
        who,
        tell: (event, revision) => void before.push(() => listener(event, revision)),
      }
      const first: Follower = { who, tell: listener }
      followers.add(follower)
      begin(first, since).then(
        async () => {
          for (const { draft, only } of drafts)
            if ((only ?? who.id) === who.id && (await inRoom(draft.room)).has(who.id))
              listener({ type: 'draft', draft })
          for (const tell of before.splice(0)) tell()
          follower.tell = listener
        },
        (error: unknown) => log.error({ err: error }, 'the news of rooms could not be told'),
      )
      return () => followers.delete(follower)
    },
    changed(changed) {
      waiting.push(changed)
      soon()
    },
    friends() {
      everybody = true
      soon()
    },
    draft(draft, only) {
      telling = telling
        .then(async () => {
          const members = await inRoom(draft.room)
          for (const { who, tell } of followers)
            if (members.has(who.id) && (only ?? who.id) === who.id) tell({ type: 'draft', draft })
        })
        .catch((error: unknown) => log.error({ err: error }, 'the news of rooms could not be told'))
    },
    async close() {
      clearTimeout(timer)
      followers.clear()
      await telling
    },
  }
}
