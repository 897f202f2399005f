/** So long a message stands still before it is looked at. */
const settleMs = 200

/** Whether there was time since this was mounted: what is scrolled past needs no buttons. */
export function useSettled() {
  const settled = ref(false)
  let waiting = 0
  onMounted(() => {
    waiting = window.setTimeout(() => (settled.value = true), settleMs)
  })
  onBeforeUnmount(() => clearTimeout(waiting))
  return settled
}
