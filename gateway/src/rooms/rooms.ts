/**
 * Rooms: what people of this gateway, those of friends' gateways and the assistant write to each other. A room has a
 * home, the gateway on which it was made, which gives each message its place; so all have the same order. What is
 * written while the home is away waits here and is shown as waiting.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { waitMs } from '#admission/wait.ts'
import type { Federation, Peer } from '#federation/federation.ts'
import type { Room, RoomList, RoomMessage, RoomPage, RoomPeople, RoomsFound } from '#protocol/rooms.ts'
import { Failure } from '../failure.ts'
import { createAssistant, type AssistantDeps, type Calling } from './assistant.ts'
import { createChanging, messageAt, type Changed } from './change.ts'
import { createCourier } from './courier.ts'
import { openRoomDatabase } from './database.ts'
import { createGuest } from './guest.ts'
import { createHome } from './home.ts'
import { createMembership, type Membership, type RoomWish } from './membership.ts'
import { createMessages, type NewMessage } from './messages.ts'
import { createNews, type RoomListener } from './news.ts'
import { namedApart } from './named-apart.ts'
import { limits, noSuchMessage, noSuchRoom, type KnownPerson, type Who } from './room.ts'
import { findMessages } from './search.ts'
import { createView } from './view.ts'
import { frame, isFromHome } from './wire.ts'

/** Each throws a `Failure` where it is refused; a room that one is not in is `not_found`. */
export interface Rooms extends Pick<
  Membership,
  'delete' | 'removePerson' | 'inviteFriend' | 'removeFriend' | 'accept' | 'decline' | 'ask' | 'setOwn'
> {
  list(who: Who): Promise<RoomList>
  room(who: Who, id: string): Promise<Room>
  create(who: Who, wish: RoomWish): Promise<Room>
  change(who: Who, id: string, wish: Partial<RoomWish>): Promise<Room>
  /** Whom one may take in. */
  people(who: Who): Promise<RoomPeople>
  addPerson(who: Who, id: string, person: string): Promise<Room>
  page(
    who: Who,
    id: string,
    page: { readonly before?: number | undefined; readonly limit: number },
  ): Promise<RoomPage>
  search(who: Who, words: string, limit: number): Promise<RoomsFound>
  /** What calls the assistant is answered by it. */
  post(calling: Omit<Calling, 'message' | 'text'>, message: NewMessage): Promise<RoomMessage>
  edit(who: Who, id: string, message: string, text: string): Promise<RoomMessage>
  deleteMessage(who: Who, id: string, message: string): Promise<void>
  /** Ends an answer of the assistant's that one has called for. */
  stop(who: Who, draft: string): void
  /** @param since the last revision that came. Returns what ends it */
  follow(who: Who, listener: RoomListener, since?: number): () => void
  close(): Promise<void>
}

export interface RoomsOptions extends Pick<AssistantDeps, 'engines' | 'admission' | 'recorder'> {
  readonly file: string
  readonly federation: Federation
  /** The people of this gateway. */
  people(): Promise<readonly KnownPerson[]>
  readonly log: { error(what: object, message: string): void; warn(what: object, message: string): void }
  /** What a peer may send before it has to wait; left out, what a day's messages take some minutes for. */
  readonly pace?: Pace
}

interface Pace {
  readonly points: number
  readonly seconds: number
}

/** Of one friend. Held back, it waits over there: nothing is lost by it. */
const usualPace: Pace = { points: 600, seconds: 30 }
/** Of one person, in a minute. */
const messagesPerMinute = 60

export async function openRooms(options: RoomsOptions): Promise<Rooms> {
  const { people, log } = options
  const federation = namedApart(options.federation)
  const pace = options.pace ?? usualPace
  const database = await openRoomDatabase(options.file)
  const view = createView({ database, federation, people })
  const news = createNews(database, view, log)
  let told: (changed: Changed) => void = () => {}
  const changing = await createChanging(database, (changed) => told(changed))
  const courier = createCourier({ database, federation, log })
  const announce = async (): Promise<void> => {
    const rows = await database
      .selectFrom('rooms')
      .select('name')
      .where('home', '=', '')
      .where('public', '=', 1)
      .orderBy('created_at')
      .execute()
    federation.announce([...new Set(rows.map(({ name }) => name))].slice(0, limits.shown))
  }
  const membership = createMembership({ changing, federation, people })
  const messages = createMessages({ database, changing, people })
  const assistant = createAssistant({ ...options, database, messages, news })
  told = (changed) => {
    news.changed(changed)
    for (const mesh of changed.peers) courier.wake(mesh)
  }
  await announce()

  const home = createHome()
  const guest = createGuest({ federation, people })
  const paces = new RateLimiterMemory({ points: pace.points, duration: pace.seconds })
  const closing = new AbortController()
  const take = async (peer: Peer, message: unknown): Promise<void> => {
    const from = federation.peers.find(({ meshId }) => meshId === peer.meshId) ?? peer
    await paces.consume(from.meshId).catch(async (state: unknown) => {
      if (!(state instanceof RateLimiterRes)) throw state
      await pause(waitMs(state, pace.seconds), undefined, { signal: closing.signal })
    })
    closing.signal.throwIfAborted()
    const read = frame.safeParse(message)
    // It would come again for ever.
    if (!read.success) {
      log.warn({ friend: from.name, issue: read.error.issues[0]?.message }, 'a friend sent what is no room’s')
      return
    }
    const { data } = read
    await changing((change) => (isFromHome(data) ? guest(change, from, data) : home(change, from, data)))
  }
  federation.receive('room', take)
  const unwatch = federation.watch(() => news.friends())

  const posts = new RateLimiterMemory({ points: messagesPerMinute, duration: 60 })
  const room = async (who: Who, id: string): Promise<Room> => {
    const [found] = await view.rooms(who, [id])
    if (found) return found
    throw noSuchRoom()
  }
  const message = async (id: string, messageId: string): Promise<RoomMessage> => {
    const row = await messageAt(database, id, messageId)
    const [seen] = row ? await view.messages([row]) : []
    if (seen) return seen
    throw noSuchMessage()
  }
  const counted = (who: Who): Promise<unknown> =>
    posts.consume(who.id).catch((state: unknown) => {
      throw state instanceof RateLimiterRes ? tooFast(state) : state
    })

  return {
    ...membership,
    list: async (who) => ({ ...(await view.list(who)), rooms: await view.rooms(who) }),
    room,
    async create(who, wish) {
      const id = await membership.create(who, wish)
      if (wish.public) await announce()
      return room(who, id)
    },
    async change(who, id, wish) {
      await membership.change(who, id, wish)
      await announce()
      return room(who, id)
    },
    async delete(who, id) {
      await membership.delete(who, id)
      await announce()
    },
    async removePerson(who, id, person) {
      await membership.removePerson(who, id, person)
      await announce()
    },
    async people(who) {
      const known = await membership.within(who)
      return { people: known.map(({ id: person, name }) => ({ person, name })) }
    },
    async addPerson(who, id, person) {
      await membership.addPerson(who, id, person)
      return room(who, id)
    },
    async page(who, id, page) {
      const { rows, earlier } = await messages.page(who, id, page)
      return { messages: await view.messages(rows), earlier }
    },
    async search(who, words, limit) {
      const found = await findMessages(database, who.id, words, limit)
      const seen = await view.messages(found.map(({ message: row }) => row))
      return {
        messages: found.flatMap(({ message: { id, room_id }, snippet }) => {
          const one = seen.find((each) => each.id === id && each.room === room_id)
          return one ? [{ room: room_id, message: one, snippet }] : []
        }),
      }
    },
    async post(calling, wish) {
      const { who, room: id } = calling
      await counted(who)
      const fresh = await messages.post(who, id, wish)
      if (fresh) assistant.hear({ ...calling, message: wish.id, text: wish.text })
      return message(id, wish.id)
    },
    async edit(who, id, messageId, text) {
      await counted(who)
      await messages.edit(who, id, messageId, text)
      return message(id, messageId)
    },
    async deleteMessage(who, id, messageId) {
      await counted(who)
      await messages.delete(who, id, messageId)
    },
    stop: assistant.stop,
    follow: (who, listener, since) => news.follow(who, listener, since, assistant.drafts),
    async close() {
      closing.abort(new Failure('unavailable', 'The gateway is closing.'))
      unwatch()
      await assistant.close()
      await courier.close()
      await news.close()
      await database.destroy()
    },
  }
}

function tooFast(state: RateLimiterRes): Failure {
  return new Failure(
    'rate_limited',
    `You have written ${messagesPerMinute} messages within a minute.`,
    undefined,
    { retryAfter: Math.max(1, Math.ceil(waitMs(state, 60) / 1000)) },
  )
}
