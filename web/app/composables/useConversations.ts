import type { ConversationList, ConversationSummary } from '@sotto/gateway/protocol/conversations.ts'
import { ask, Refused } from '~/gateway/ask'
import { forgetConversation, keepList, keepOnly, recallList } from '~/gateway/last-seen'
import { append, follow, renew, type ListEvent } from '~/history/list'

const place = '/sotto/conversations'
/** A path that is cut says nothing: an answer takes no longer on the worst of those that work. */
const patienceMs = 5_000
/** As many are kept for when the gateway can't be reached. */
const mostKept = 100

/** One list for all of the page. */
const list = shallowRef<ConversationList>()
const problem = shallowRef<Refused>()
const loading = ref(false)

/** One's conversations: what is listed of them, and what one does to them. */
export function useConversations() {
  const { t } = useI18n()
  const toast = useToast()
  const { tell } = useTelling()
  const route = useRoute()

  /** Reads the first page, again where it was read before. Where it can't be, the list is as it was seen last. */
  async function look(): Promise<void> {
    await read(place, (page) => (list.value ? renew(list.value, page) : page))
    if (problem.value?.code === 'unreachable') list.value ??= await recallList()
    else if (list.value) await keepOnly(new Set([...list.value.conversations.map(({ id }) => id), openOne()]))
  }
  /** Reads the page that follows. */
  async function more(): Promise<void> {
    const { next } = list.value ?? {}
    if (!next || loading.value) return
    await read(`${place}?${new URLSearchParams({ before: next })}`, (page) =>
      list.value ? append(list.value, page) : page,
    )
  }

  async function read(path: string, take: (page: ConversationList) => ConversationList): Promise<void> {
    loading.value = true
    try {
      show(take(await ask('GET', path, undefined, AbortSignal.timeout(patienceMs))))
      problem.value = undefined
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      problem.value = error
    } finally {
      loading.value = false
    }
  }

  function show(now: ConversationList): void {
    list.value = now
    void keepList({ conversations: now.conversations.slice(0, mostKept), next: null })
  }

  /** Takes what the session says of the list. */
  function receive(event: ListEvent): void {
    if (list.value) show(follow(list.value, event))
    if ('removed' in event) void forgetConversation(event.removed)
  }
  function changed(conversation: ConversationSummary): void {
    receive({ type: 'x.conversations', changed: conversation })
  }

  function rename(id: string, title: string): Promise<void> {
    return act(async () => changed(await ask('PATCH', `${place}/${id}`, { title })))
  }
  function pin(id: string, pinned: boolean): Promise<void> {
    return act(async () => changed(await ask('PATCH', `${place}/${id}`, { pinned })))
  }
  function remove({ id, title }: ConversationSummary): Promise<void> {
    return act(async () => {
      const open = openOne() === id
      // Left first: one that is open tells who looks at it that it is gone.
      if (open) await navigateTo('/')
      await ask('DELETE', `${place}/${id}`)
      receive({ type: 'x.conversations', removed: id })
      toast.add({
        title: t('history.deleted', { title: title || t('history.untitled') }),
        icon: 'i-lucide-trash-2',
        // Long enough to read it, and to reach the button by keyboard.
        duration: 10_000,
        actions: [
          {
            label: t('common.undo'),
            icon: 'i-lucide-undo-2',
            color: 'neutral',
            variant: 'outline',
            size: 'md',
            class: 'min-h-10',
            onClick: () => void restore(id, open),
          },
        ],
      })
    })
  }
  function restore(id: string, open: boolean): Promise<void> {
    return act(async () => {
      changed(await ask('POST', `${place}/${id}/restore`))
      if (open) await navigateTo(`/c/${id}`)
    })
  }

  /** The conversation that the page shows. */
  function openOne(): string {
    return [route.params.id].flat()[0] ?? ''
  }

  async function act(task: () => Promise<void>): Promise<void> {
    try {
      await task()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      tell(error)
    }
  }

  return { list, problem, loading, look, more, receive, rename, pin, remove }
}

/** Where a conversation is downloaded. */
export function exportOf(id: string, format: 'markdown' | 'json'): string {
  return useGateway().url(`${place}/${id}/export?format=${format}`)
}
