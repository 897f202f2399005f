/**
 * What was read of one's conversations and rooms last, kept in this browser for when the gateway can't be reached: one
 * person's, and bounded. The page keeps it itself, where it knows what is new and what was deleted.
 */
import type { ConversationList, ItemPage } from '@sotto/gateway/protocol/conversations.ts'
import type { RoomList, RoomPage } from '@sotto/gateway/protocol/rooms.ts'

/** A cache is named by it and by the person whose it is. */
const prefix = 'sotto-seen '
const listPath = '/sotto/conversations'
const roomsPath = '/sotto/rooms'
/** Conversations of a hundred messages, most of them a few kilobytes. */
const most = 50

const person = Promise.withResolvers<string>()
const possible = 'caches' in globalThis

/** Begins to keep: for this person, and whatever was kept of another is gone. */
export async function keepFor(name: string): Promise<void> {
  if (!possible) return
  for (const other of await kept()) if (other !== prefix + name) await caches.delete(other)
  person.resolve(name)
}

export async function keepList(list: ConversationList): Promise<void> {
  await put(listPath, list)
}

/** The oldest that was kept makes room for it. */
export async function keepConversation(id: string, page: ItemPage): Promise<void> {
  const path = `${listPath}/${id}`
  const cache = await put(path, page)
  const ids = (await idsBelow(listPath, cache)).filter((one) => one !== id)
  for (const old of ids.slice(0, Math.max(0, ids.length + 1 - most))) await cache.delete(`${listPath}/${old}`)
}

export function recallList(): Promise<ConversationList | undefined> {
  return recall(listPath)
}

export function recallConversation(id: string): Promise<ItemPage | undefined> {
  return recall(`${listPath}/${id}`)
}

export async function forgetConversation(id: string): Promise<void> {
  for (const name of await kept()) await (await caches.open(name)).delete(`${listPath}/${id}`)
}

/** Forgets all conversations but these: they were deleted elsewhere, or are further down than anybody looks. */
export async function keepOnly(ids: ReadonlySet<string>): Promise<void> {
  for (const name of await kept())
    for (const id of await idsBelow(listPath, await caches.open(name)))
      if (!ids.has(id)) await forgetConversation(id)
}

/** Of rooms that one is not in any more nothing stays. */
export async function keepRooms(list: RoomList): Promise<void> {
  const cache = await put(roomsPath, list)
  const ids = new Set(list.rooms.map(({ id }) => id))
  for (const id of await idsBelow(roomsPath, cache))
    if (!ids.has(id)) await cache.delete(`${roomsPath}/${id}`)
}

export async function keepRoom(id: string, page: RoomPage): Promise<void> {
  await put(`${roomsPath}/${id}`, page)
}

export function recallRooms(): Promise<RoomList | undefined> {
  return recall(roomsPath)
}

export function recallRoom(id: string): Promise<RoomPage | undefined> {
  return recall(`${roomsPath}/${id}`)
}

async function put(path: string, content: object): Promise<Cache> {
  const cache = await caches.open(prefix + (await person.promise))
  // Deleted first, it comes last of all.
  await cache.delete(path)
  await cache.put(path, Response.json(content))
  return cache
}

async function recall<T>(path: string): Promise<T | undefined> {
  for (const name of await kept()) {
    const answer = await (await caches.open(name)).match(path)
    if (answer) return answer.json()
  }
  return undefined
}

async function kept(): Promise<string[]> {
  return possible ? (await caches.keys()).filter((name) => name.startsWith(prefix)) : []
}

/** The ids of what is kept below a path, the oldest first. */
async function idsBelow(place: string, cache: Cache): Promise<string[]> {
  const paths = (await cache.keys()).map(({ url }) => new URL(url).pathname)
  return paths.flatMap((path) => (path.startsWith(`${place}/`) ? path.slice(place.length + 1) : []))
}
