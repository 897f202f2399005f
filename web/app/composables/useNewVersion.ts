/**
 * What opens the page while the gateway is out of reach, and a new version of the page that comes while it is open:
 * one takes it up when one likes, since loading the page again ends a talk.
 */
export function useNewVersion(): void {
  const { t } = useI18n()
  const toast = useToast()
  const { connection } = useConnection()
  let registration: ServiceWorkerRegistration | undefined

  async function register(): Promise<void> {
    if (import.meta.dev || !('serviceWorker' in navigator)) return
    // Without it the page works as it does, but not offline: a browser may forbid it.
    registration = await navigator.serviceWorker.register('/sw.js').catch(() => undefined)
    if (registration?.waiting) offer(registration.waiting)
    registration?.addEventListener('updatefound', () => {
      const coming = registration?.installing
      coming?.addEventListener('statechange', () => {
        // The first one of all replaces nothing.
        if (coming.state === 'installed' && navigator.serviceWorker.controller) offer(coming)
      })
    })
  }

  function offer(version: ServiceWorker): void {
    toast.add({
      id: 'new-version',
      title: t('common.version.title'),
      description: t('common.version.description'),
      icon: 'i-lucide-sparkles',
      duration: 0,
      actions: [{ label: t('common.version.reload'), onClick: () => take(version) }],
    })
  }
  function take(version: ServiceWorker): void {
    navigator.serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true })
    version.postMessage({ type: 'SKIP_WAITING' })
  }

  onNuxtReady(register)
  // The gateway was away: it may have been started again, as a newer one.
  watch(connection, (now, before) => {
    if (now === 'open' && before === 'reconnecting') void registration?.update().catch(() => undefined)
  })
}
