import type { RoomDraft, RoomMessage, RoomPage } from '@sotto/gateway/protocol/rooms.ts'
import { ask, Refused } from '~/gateway/ask'
import { keepRoom, recallRoom } from '~/gateway/last-seen'
import { merge } from '~/rooms/messages'

/** As many messages are kept for when the gateway can't be reached; one is often followed by another. */
const mostKept = 100
const settlingMs = 1_000

/** What is said in one room, and what one says there. */
export function useRoom(id: string) {
  const { list, rooms, drafts, follow, attempt, read } = useRooms()
  const place = `/sotto/rooms/${id}/messages`

  const room = computed(() => rooms.value?.find((one) => one.id === id))
  const messages = shallowRef<readonly RoomMessage[]>()
  const problem = shallowRef<Refused>()
  const earlier = ref(false)
  /** Of one's own that the gateway has not got: they are sent again at a touch. */
  const unsent = shallowRef<ReadonlySet<string>>(new Set())
  let loading = false

  const writing = computed((): readonly RoomDraft[] =>
    [...drafts.value.values()].filter(
      (draft) =>
        draft.room === id &&
        (draft.state === 'failed' || !messages.value?.some((message) => message.id === draft.id)),
    ),
  )

  async function load(before?: number): Promise<void> {
    if (loading) return
    loading = true
    try {
      const query = before === undefined ? '' : `?${new URLSearchParams({ before: String(before) })}`
      const page = await ask<RoomPage>('GET', place + query)
      // What was missed may be more than a page: then what was there before would have a hole.
      const known =
        before === undefined ? (messages.value ?? []).filter(({ revision }) => revision === 0) : []
      messages.value = merge(before === undefined ? known : (messages.value ?? []), page.messages)
      earlier.value = page.earlier
      problem.value = undefined
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      problem.value = error
      if (error.code === 'unreachable') messages.value ??= (await recallRoom(id))?.messages
    } finally {
      loading = false
    }
  }
  async function more(): Promise<void> {
    const first = messages.value?.[0]?.sequence
    if (earlier.value && typeof first === 'number') await load(first)
  }
  function take(message: RoomMessage): void {
    if (messages.value) messages.value = merge(messages.value, [message])
  }

  follow((event) => {
    if (event.type === 'message' && event.message.room === id) take(event.message)
    else if (event.type === 'hello' && (event.missed || problem.value)) void load()
  })
  onMounted(() => void load())

  let keeping: ReturnType<typeof setTimeout> | undefined
  watch(messages, (now) => {
    clearTimeout(keeping)
    if (!now || problem.value) return
    const said = now.filter(({ revision }) => revision > 0)
    const page = { messages: said.slice(-mostKept), earlier: earlier.value || said.length > mostKept }
    keeping = setTimeout(() => void keepRoom(id, page), settlingMs)
  })
  onScopeDispose(() => clearTimeout(keeping))

  function mark(message: string, failed: boolean): void {
    const now = new Set(unsent.value)
    if (failed) now.add(message)
    else now.delete(message)
    unsent.value = now
  }
  async function post(message: RoomMessage): Promise<void> {
    mark(message.id, false)
    const { text, reply } = message
    const body = { id: message.id, text, ...(reply !== null && { reply }) }
    const sent = await attempt(async () => take(await ask<RoomMessage>('POST', place, body)))
    if (!sent) mark(message.id, true)
  }
  function say(text: string, reply: string | null): void {
    const self = list.value?.self
    if (!self) return
    const message: RoomMessage = {
      id: crypto.randomUUID(),
      room: id,
      sequence: null,
      revision: 0,
      author: { name: self.name, gateway: null, via: null, person: self.person },
      model: null,
      text,
      at: new Date().toISOString(),
      editedAt: null,
      deleted: false,
      reply,
      state: 'pending',
    }
    take(message)
    void post(message)
  }
  function edit(message: string, text: string): Promise<boolean> {
    return attempt(async () => take(await ask<RoomMessage>('PATCH', `${place}/${message}`, { text })))
  }
  function remove(message: string): Promise<boolean> {
    return attempt(() => ask('DELETE', `${place}/${message}`))
  }
  function stop(draft: string): Promise<boolean> {
    return attempt(() => ask('DELETE', `/sotto/rooms/answers/${draft}`))
  }
  /** Says that all was read so far. */
  function readAll(): void {
    const sequence = messages.value?.findLast((message) => message.sequence !== null)?.sequence
    if (typeof sequence === 'number') void read(id, sequence)
  }

  return {
    self: computed(() => list.value?.self.person),
    room,
    messages,
    problem,
    earlier,
    unsent,
    writing,
    load,
    more,
    say,
    post,
    edit,
    remove,
    stop,
    readAll,
  }
}
