import type { ConversationFound, ConversationsFound } from '@sotto/gateway/protocol/conversations.ts'
import { ask, Refused } from '~/gateway/ask'

/** A word takes longer to type than this; one who waits for it does not notice. */
const typingMs = 150
const most = 30

/** Searches one's conversations for words, while they are being typed. */
export function useHistorySearch(words: Ref<string>) {
  /** Of the words before, until those of the new ones are there; undefined where nothing is searched for. */
  const found = shallowRef<readonly ConversationFound[]>()
  const problem = shallowRef<Refused>()
  const searching = ref(false)
  let timer: ReturnType<typeof setTimeout> | undefined
  let latest: AbortController | undefined

  async function search(wanted: string): Promise<void> {
    const mine = new AbortController()
    latest = mine
    try {
      const query = new URLSearchParams({ search: wanted, limit: String(most) })
      const answer = await ask<ConversationsFound>(
        'GET',
        `/sotto/conversations?${query}`,
        undefined,
        mine.signal,
      )
      if (mine.signal.aborted) return
      found.value = answer.conversations
      problem.value = undefined
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      if (mine.signal.aborted) return
      found.value = undefined
      problem.value = error
    }
    searching.value = false
  }

  watch(words, (now) => {
    clearTimeout(timer)
    latest?.abort()
    const wanted = now.trim()
    searching.value = wanted !== ''
    if (wanted) timer = setTimeout(() => void search(wanted), typingMs)
    else found.value = problem.value = undefined
  })
  onScopeDispose(() => {
    clearTimeout(timer)
    latest?.abort()
  })
  return { found, problem, searching }
}
