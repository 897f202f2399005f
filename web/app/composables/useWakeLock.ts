/** Keeps the screen on while wanted: a locked phone gives neither sound nor microphone to a page. */
export function useWakeLock(wanted: Ref<boolean>): void {
  let lock: WakeLockSentinel | undefined

  async function update(): Promise<void> {
    if (!wanted.value) {
      await lock?.release()
      lock = undefined
    } else if (document.visibilityState === 'visible' && (!lock || lock.released)) {
      // Refused on a low battery, and unknown to some browsers: talking goes on without.
      lock = await navigator.wakeLock?.request('screen').catch(() => undefined)
    }
  }

  // The browser takes it away when the page is hidden.
  const shown = (): void => void update()
  watch(wanted, shown)
  onMounted(() => document.addEventListener('visibilitychange', shown))
  onBeforeUnmount(() => {
    document.removeEventListener('visibilitychange', shown)
    void lock?.release()
  })
}
