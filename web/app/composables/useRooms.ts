import type { Room, RoomDraft, RoomEvent, RoomList } from '@sotto/gateway/protocol/rooms.ts'
import { ask, Refused } from '~/gateway/ask'
import { keepRooms, recallRooms } from '~/gateway/last-seen'

const place = '/sotto/rooms'
/** A stream on which nothing comes for longer is dead: the gateway beats every 20 s. */
const silentMs = 50_000
/** One message is often followed by another. */
const settlingMs = 1_000
/** Before a stream that was refused is asked for again. */
const againMs = 5_000

/** One list and one stream for all of the page. */
const list = shallowRef<RoomList>()
const problem = shallowRef<Refused>()
const drafts = shallowRef<ReadonlyMap<string, RoomDraft>>(new Map())
/** Whether what happens comes at once. */
const live = ref(false)
const listeners = new Set<(event: RoomEvent) => void>()
let users = 0
let stream: EventSource | undefined
let last = ''
let silence: ReturnType<typeof setTimeout> | undefined
let keeping: ReturnType<typeof setTimeout> | undefined

/** One's rooms, kept up by a stream of events for as long as somebody uses them and the page is in sight. */
export function useRooms() {
  const { url } = useGateway()
  const { tell } = useTelling()

  const rooms = computed(() => list.value?.rooms)
  const unread = computed(
    () => rooms.value?.reduce((sum, room) => sum + (room.muted ? 0 : room.unread), 0) ?? 0,
  )

  async function look(): Promise<void> {
    try {
      list.value = await ask<RoomList>('GET', place)
      problem.value = undefined
      keep()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      problem.value = error
      if (error.code === 'unreachable') list.value ??= await recallRooms()
    }
  }
  /** For when the gateway can't be reached. */
  function keep(): void {
    clearTimeout(keeping)
    keeping = setTimeout(() => list.value && void keepRooms(list.value), settlingMs)
  }

  function open(): void {
    if (stream || users === 0 || document.hidden) return
    const since = last === '' ? '' : `?${new URLSearchParams({ since: last })}`
    stream = new EventSource(url(`${place}/events${since}`))
    stream.addEventListener('message', ({ data, lastEventId }: MessageEvent<string>) => {
      heard()
      if (lastEventId !== '') last = lastEventId
      receive(JSON.parse(data))
    })
    stream.addEventListener('beat', heard)
    stream.addEventListener('error', () => {
      live.value = false
      // The browser comes again by itself, but not after a refusal.
      if (stream?.readyState !== EventSource.CLOSED) return
      close()
      void look()
      if (users > 0) silence = setTimeout(open, againMs)
    })
    heard()
  }
  function close(): void {
    clearTimeout(silence)
    stream?.close()
    stream = undefined
    live.value = false
  }
  function heard(): void {
    clearTimeout(silence)
    silence = setTimeout(() => {
      close()
      open()
    }, silentMs)
  }
  function receive(event: RoomEvent): void {
    if (event.type === 'hello' || event.type === 'list') {
      list.value = event.list
      problem.value = undefined
      live.value = true
    } else if (event.type === 'room') put(event.room)
    else if (event.type === 'gone') drop(event.room)
    else if (event.type === 'draft') write(event.draft)
    if (event.type === 'hello') drafts.value = new Map()
    if (event.type !== 'draft') keep()
    for (const listener of listeners) listener(event)
  }
  function put(room: Room): void {
    if (!list.value) return
    const others = list.value.rooms.filter(({ id }) => id !== room.id)
    const all = [...others, room].toSorted((one, other) => other.updatedAt.localeCompare(one.updatedAt))
    list.value = { ...list.value, rooms: all }
  }
  function drop(id: string): void {
    if (list.value) list.value = { ...list.value, rooms: list.value.rooms.filter((room) => room.id !== id) }
  }
  function write(draft: RoomDraft): void {
    const now = new Map(drafts.value)
    if (draft.state === 'ended') now.delete(draft.id)
    else now.set(draft.id, draft)
    drafts.value = now
  }
  function dismiss(draft: string): void {
    const now = new Map(drafts.value)
    now.delete(draft)
    drafts.value = now
  }

  /** Follows what happens while the component is there. */
  function follow(listener?: (event: RoomEvent) => void): void {
    const seen = (): void => (document.hidden ? close() : open())
    onMounted(() => {
      users += 1
      if (listener) listeners.add(listener)
      document.addEventListener('visibilitychange', seen)
      open()
    })
    onUnmounted(() => {
      users -= 1
      if (listener) listeners.delete(listener)
      document.removeEventListener('visibilitychange', seen)
      if (users === 0) close()
    })
  }

  /** Whether it was done; else what was refused is told. */
  async function attempt(task: () => Promise<unknown>): Promise<boolean> {
    try {
      await task()
      return true
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      tell(error)
      return false
    }
  }

  async function create(name: string, open_: boolean): Promise<void> {
    await attempt(async () => {
      const room = await ask<Room>('POST', place, { name, public: open_ })
      put(room)
      await navigateTo(`/rooms/${room.id}`)
    })
  }
  function change(id: string, wish: object): Promise<boolean> {
    return attempt(async () => put(await ask<Room>('PATCH', `${place}/${id}`, wish)))
  }
  function mute(id: string, muted: boolean): Promise<boolean> {
    return attempt(() => ask('PUT', `${place}/${id}/own`, { muted }))
  }
  function read(id: string, sequence: number): Promise<unknown> {
    return ask('PUT', `${place}/${id}/own`, { read: sequence }).catch(() => undefined)
  }
  function remove(id: string): Promise<boolean> {
    return attempt(async () => {
      await ask('DELETE', `${place}/${id}`)
      drop(id)
    })
  }
  function leave(id: string): Promise<boolean> {
    return attempt(async () => {
      await ask('DELETE', `${place}/${id}/members/${list.value?.self.person ?? ''}`)
      drop(id)
    })
  }
  function addPerson(id: string, person: string): Promise<boolean> {
    return attempt(async () => put(await ask<Room>('POST', `${place}/${id}/members`, { person })))
  }
  function removePerson(id: string, person: string): Promise<boolean> {
    return attempt(() => ask('DELETE', `${place}/${id}/members/${person}`))
  }
  function inviteFriend(id: string, friend: string): Promise<boolean> {
    return attempt(() => ask('POST', `${place}/${id}/friends`, { friend }))
  }
  function removeFriend(id: string, friend: string): Promise<boolean> {
    return attempt(() => ask('DELETE', `${place}/${id}/friends/${encodeURIComponent(friend)}`))
  }
  function accept(id: string, people: readonly string[]): Promise<boolean> {
    return attempt(() => ask('POST', `${place}/${id}/accept`, { people }))
  }
  function decline(id: string): Promise<boolean> {
    return attempt(() => ask('DELETE', `${place}/${id}/invitation`))
  }
  function askToJoin(friend: string, room: string): Promise<boolean> {
    return attempt(() => ask('POST', `${place}/asks`, { friend, room }))
  }

  return {
    list: readonly(list),
    rooms,
    unread,
    problem: readonly(problem),
    live: readonly(live),
    drafts: readonly(drafts),
    look,
    follow,
    dismiss,
    attempt,
    create,
    change,
    mute,
    read,
    remove,
    leave,
    addPerson,
    removePerson,
    inviteFriend,
    removeFriend,
    accept,
    decline,
    askToJoin,
  }
}

/** As people name it: `garden@friend`. */
export function fullName({ name, home }: Pick<Room, 'name' | 'home'>): string {
  return home === null ? name : `${name}@${home}`
}
