declare global {
  interface AudioContext {
    /** Chromium's alone. Source: Web Audio API 1.1. */
    setSinkId?(id: string): Promise<void>
  }
}

export interface SoundOptions {
  /** Whether any touch of the page unlocks it: where answers may sound later. */
  readonly anyTouch?: boolean
}

/** The one way of the page to loudspeaker and microphone: opened, and opened again, by a person's touch alone. */
export function useSound({ anyTouch = true }: SoundOptions = {}) {
  const preferences = usePreferences()
  const context = shallowRef<AudioContext>()
  const running = ref(false)

  /** MUST be called in the touch itself, before anything is awaited: iOS unlocks sound only there. */
  function unlock(): AudioContext {
    // At the device's own rate, since Firefox refuses a microphone at another one (Mozilla 1674892).
    const opened = (context.value ??= create())
    // iOS interrupts it for a call, and takes it up again only by another touch.
    if (opened.state !== 'running') opened.resume().catch(() => {})
    return opened
  }

  function create(): AudioContext {
    const created = new AudioContext({ latencyHint: 'interactive' })
    created.onstatechange = () => {
      running.value = created.state === 'running'
    }
    if (preferences.speaker !== null) void route(created)
    return created
  }

  /** To the speaker that was chosen, or while it is unplugged to the system's. */
  async function route(opened: AudioContext): Promise<void> {
    await opened.setSinkId?.(preferences.speaker ?? '').catch(() => opened.setSinkId?.(''))
  }

  const reroute = (): void => {
    if (context.value) void route(context.value)
  }
  const plugged = (): void => {
    if (preferences.speaker !== null) reroute()
  }
  watch(() => preferences.speaker, reroute)

  // Which of them counts as a touch is told differently by each browser.
  const touches = anyTouch ? (['pointerdown', 'pointerup', 'click', 'keydown'] as const) : []
  onMounted(() => {
    for (const touch of touches) window.addEventListener(touch, unlock, { capture: true, passive: true })
    navigator.mediaDevices?.addEventListener('devicechange', plugged)
  })
  onBeforeUnmount(() => {
    for (const touch of touches) window.removeEventListener(touch, unlock, { capture: true })
    navigator.mediaDevices?.removeEventListener('devicechange', plugged)
    void context.value?.close()
  })
  return { context, running, unlock }
}

export type Sound = ReturnType<typeof useSound>
