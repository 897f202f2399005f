import type { LocationQueryRaw } from 'vue-router'

/** Filters that live in the page's address, so that a view can be kept, sent and come back to. */
export function useFilters() {
  const route = useRoute()
  const router = useRouter()

  const filters = computed<Readonly<Record<string, string>>>(() =>
    Object.fromEntries(
      Object.entries(route.query).flatMap(([name, value]) =>
        typeof value === 'string' ? [[name, value]] : [],
      ),
    ),
  )

  /** What the address will say once it has caught up: changes may come faster than it does. */
  let wanted: LocationQueryRaw | undefined

  /** Changes some; undefined takes one away. */
  function filter(changes: Readonly<Record<string, string | undefined>>): void {
    const query = { ...(wanted ?? route.query), ...changes }
    wanted = query
    void router.replace({ query }).finally(() => {
      if (wanted === query) wanted = undefined
    })
  }
  return { filters, filter }
}
