/** The one way of the page to loudspeaker and microphone: opened, and opened again, by a person's touch alone. */
export function useSound() {
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
    return created
  }

  // Which of them counts as a touch is told differently by each browser.
  const touches = ['pointerdown', 'pointerup', 'click', 'keydown'] as const
  onMounted(() => {
    for (const touch of touches) window.addEventListener(touch, unlock, { capture: true, passive: true })
  })
  onBeforeUnmount(() => {
    for (const touch of touches) window.removeEventListener(touch, unlock, { capture: true })
    void context.value?.close()
  })
  return { context, running, unlock }
}

export type Sound = ReturnType<typeof useSound>
