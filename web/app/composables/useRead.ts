import { Refused } from '~/gateway/ask'

export interface ReadOptions {
  readonly everyMs?: number
  /** Throws `Refused`. Left out, from the admin's API. */
  readonly from?: <T>(path: string) => Promise<T>
}

/**
 * What the gateway tells at a path: now, when the path changes, and after each `look`; with `everyMs`
 * again and again while the page is in sight. What was seen last stays where it does not answer.
 */
export function useRead<T>(path: MaybeRefOrGetter<string>, { everyMs, from }: ReadOptions = {}) {
  const read = from ?? useAdmin().read
  const data = shallowRef<T>()
  const problem = shallowRef<Refused>()
  const loading = ref(false)
  let latest = 0
  let timer: ReturnType<typeof setTimeout> | undefined

  async function look(): Promise<void> {
    latest += 1
    const mine = latest
    loading.value = true
    try {
      const answer = await read<T>(toValue(path))
      if (mine !== latest) return
      data.value = answer
      problem.value = undefined
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      if (mine === latest) problem.value = error
    } finally {
      if (mine === latest) loading.value = false
    }
  }

  async function loop(): Promise<void> {
    if (!document.hidden) await look()
    timer = setTimeout(() => void loop(), everyMs)
  }

  watch(
    () => toValue(path),
    () => void look(),
  )
  onMounted(() => void (everyMs === undefined ? look() : loop()))
  onUnmounted(() => clearTimeout(timer))
  return { data, problem, loading, look }
}
