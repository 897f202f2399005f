import type { ItemPage } from '@sotto/gateway/protocol/conversations.ts'
import type { Item } from '@sotto/gateway/protocol/events.ts'
import { ask, Refused } from '~/gateway/ask'
import { keepConversation, recallConversation } from '~/gateway/last-seen'

/** As many messages of a conversation are kept. */
const most = 100
/** An answer is followed by its title, and often by the next message. */
const settlingMs = 1_000

interface Seen {
  /** The conversation that is shown. */
  readonly conversation: Readonly<Ref<string | undefined>>
  /** Changes with what there is to keep of it; undefined while there is nothing, or an answer is being written. */
  readonly state: () => number | undefined
  /** Shows what was kept of it. */
  show(items: readonly Item[]): void
}

/** Keeps the conversation that is shown, and shows what was kept of it where the gateway can't be reached. */
export function useLastSeen({ conversation, state, show }: Seen): void {
  const offline = useOffline()
  const { connection } = useConnection()
  let timer: ReturnType<typeof setTimeout> | undefined

  async function keep(id: string): Promise<void> {
    try {
      const query = new URLSearchParams({ limit: String(most) })
      await keepConversation(id, await ask<ItemPage>('GET', `/sotto/conversations/${id}/items?${query}`))
    } catch (error) {
      // Deleted meanwhile, or out of reach again: what was kept before is what was seen last.
      if (!(error instanceof Refused)) throw error
    }
  }
  watch([conversation, state, connection], ([id, now, connected]) => {
    clearTimeout(timer)
    if (id !== undefined && now !== undefined && connected === 'open')
      timer = setTimeout(() => void keep(id), settlingMs)
  })
  watch(
    [conversation, offline],
    async ([id, away]) => {
      if (id === undefined || !away) return
      const page = await recallConversation(id)
      if (offline.value && conversation.value === id) show(page?.items ?? [])
    },
    { immediate: true },
  )
  onScopeDispose(() => clearTimeout(timer))
}
