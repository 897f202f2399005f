interface InstallPrompt extends Event {
  prompt(): Promise<{ readonly outcome: 'accepted' | 'dismissed' }>
}

function isInstallPrompt(event: Event): event is InstallPrompt {
  return 'prompt' in event
}

export type Platform = 'ios' | 'android' | 'desktop'

/** iPads pass for a Mac, but no Mac can be touched. */
function platformOf({
  userAgent,
  maxTouchPoints,
}: Pick<Navigator, 'userAgent' | 'maxTouchPoints'>): Platform {
  if (/iPhone|iPad|iPod/.test(userAgent)) return 'ios'
  if (/Macintosh/.test(userAgent) && maxTouchPoints > 1) return 'ios'
  return /Android/.test(userAgent) ? 'android' : 'desktop'
}

/** The page as an app of its own. */
export function useInstall() {
  /** The browser's offer, which it makes once, early: `plugins/install.client.ts` keeps it. */
  const offer = useState<InstallPrompt | undefined>('install-offer', () => undefined)
  const installed = useState('installed', () => matchMedia('(display-mode: standalone)').matches)

  /** MUST be called in a touch. */
  async function install(): Promise<void> {
    const made = offer.value
    // It is good once.
    offer.value = undefined
    await made?.prompt()
  }

  function listen(): void {
    window.addEventListener('beforeinstallprompt', (event) => {
      if (!isInstallPrompt(event)) return
      event.preventDefault()
      offer.value = markRaw(event)
    })
    window.addEventListener('appinstalled', () => {
      offer.value = undefined
      installed.value = true
    })
  }
  return { offer, installed, platform: platformOf(navigator), install, listen }
}
