/** Whether there was time since this was mounted: what is scrolled past needs no buttons. */
export function useSettled() {
  const settled = ref(false)
  // Safari has no idle callbacks.
  const idle = 'requestIdleCallback' in window
  const settle = (): void => void (settled.value = true)
  let waiting = 0
  onMounted(() => {
    waiting = idle ? requestIdleCallback(settle) : window.setTimeout(settle, 150)
  })
  onBeforeUnmount(() => (idle ? cancelIdleCallback(waiting) : clearTimeout(waiting)))
  return settled
}
