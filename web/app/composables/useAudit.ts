import type { AuditList, AuditRow } from '@sotto/gateway/protocol/admin.ts'
import { Refused } from '~/gateway/ask'

const atOnce = 100
const lookEveryMs = 3_000

/**
 * The audit, the newest first: older rows as they are asked for, and newer ones as they come. Those wait in
 * `fresh` while `following` is false, so that nothing moves under the eyes of one who reads further down.
 *
 * @param query the filters, as the gateway takes them
 */
export function useAudit(query: Ref<URLSearchParams>, following: Ref<boolean>) {
  const { read } = useAdmin()
  const rows = shallowRef<readonly AuditRow[]>()
  const fresh = shallowRef<readonly AuditRow[]>([])
  const next = ref<string | null>(null)
  const problem = shallowRef<Refused>()
  const loading = ref(false)
  let timer: ReturnType<typeof setTimeout> | undefined
  /** Where newer rows begin anew: more came at once than an answer holds. */
  let gap: AuditList | undefined

  function page(before?: string): Promise<AuditList> {
    const asked = new URLSearchParams(query.value)
    asked.set('limit', String(atOnce))
    if (before !== undefined) asked.set('before', before)
    return read(`/audit?${asked}`)
  }

  /** Does it for the filters of now; what comes for others is let go. */
  async function tell(task: () => Promise<AuditList>, take: (list: AuditList) => void): Promise<void> {
    const asked = query.value
    try {
      const list = await task()
      if (asked !== query.value) return
      problem.value = undefined
      take(list)
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      if (asked === query.value) problem.value = error
    }
  }

  function replace(list: AuditList): void {
    rows.value = list.rows
    next.value = list.next
    fresh.value = []
    gap = undefined
  }

  async function begin(): Promise<void> {
    loading.value = true
    await tell(page, replace)
    loading.value = false
  }

  async function older(): Promise<void> {
    const before = next.value
    if (before === null || loading.value) return
    loading.value = true
    await tell(
      () => page(before),
      (list) => {
        rows.value = [...(rows.value ?? []), ...list.rows]
        next.value = list.next
      },
    )
    loading.value = false
  }

  async function newer(): Promise<void> {
    if (loading.value) return
    await tell(page, (list) => {
      if (!rows.value) return replace(list)
      const known = Math.max(0, ...[...fresh.value, ...rows.value].map(({ id }) => id))
      const come = list.rows.filter(({ id }) => id > known)
      if (come.length === 0) return
      if (come.length === list.rows.length && list.next !== null) gap = list
      fresh.value = gap ? gap.rows : [...come, ...fresh.value]
      if (following.value) show()
    })
  }

  /** Puts those that came meanwhile on top. */
  function show(): void {
    if (gap) return replace(gap)
    if (fresh.value.length === 0) return
    rows.value = [...fresh.value, ...(rows.value ?? [])].toSorted(newestFirst)
    fresh.value = []
  }

  async function loop(): Promise<void> {
    if (!document.hidden) await newer()
    timer = setTimeout(() => void loop(), lookEveryMs)
  }

  watch(query, () => {
    rows.value = undefined
    fresh.value = []
    next.value = null
    void begin()
  })
  watch(following, (follows) => {
    if (follows) show()
  })
  onMounted(async () => {
    await begin()
    timer = setTimeout(() => void loop(), lookEveryMs)
  })
  onUnmounted(() => clearTimeout(timer))
  return { rows, fresh, next, problem, loading, begin, older, show }
}

/** By when they began: one that took long comes late, and belongs further down. */
function newestFirst(one: AuditRow, other: AuditRow): number {
  return Date.parse(other.at) - Date.parse(one.at) || other.id - one.id
}
