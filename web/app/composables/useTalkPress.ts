export interface TalkPress {
  readonly state: () => 'idle' | 'listening' | 'thinking' | 'speaking'
  /** A touch opens the microphone and another closes it; else a touch or a hold is one turn. */
  readonly handsFree: () => boolean
  readonly disabled: () => boolean
  start(): void
  finish(): void
}

/** A press longer than this is held: letting go ends the turn. A shorter one is a tap: the next tap ends it. */
const holdMs = 400

/** What has a use of its own for the space bar. The voice view has none: there it talks. */
const used =
  'a, button, input, textarea, select, summary, [contenteditable], [role=listbox], [role=dialog]:not([data-testid=voice-view])'

/** Tap, hold or the space bar: the presses by which the word is taken and given back. */
export function useTalkPress({ state, handsFree, disabled, start, finish }: TalkPress) {
  let pressedAt = 0
  let wasListening = false

  function press(): void {
    if (disabled()) return
    if (handsFree()) return state() === 'listening' ? finish() : start()
    pressedAt = performance.now()
    wasListening = state() === 'listening'
    if (!wasListening) start()
  }

  function release(): void {
    if (pressedAt === 0) return
    const held = performance.now() - pressedAt > holdMs
    pressedAt = 0
    if (wasListening || held) finish()
  }

  /** The space bar is the button, wherever it does not mean something else. */
  function isFree(event: KeyboardEvent): boolean {
    const plain = !event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey
    return event.code === 'Space' && plain && !(event.target instanceof Element && event.target.closest(used))
  }

  function spaceDown(event: KeyboardEvent): void {
    if (!isFree(event)) return
    event.preventDefault()
    if (!event.repeat) press()
  }

  function spaceUp(event: KeyboardEvent): void {
    if (isFree(event)) release()
  }

  onMounted(() => {
    window.addEventListener('keydown', spaceDown)
    window.addEventListener('keyup', spaceUp)
  })
  onBeforeUnmount(() => {
    window.removeEventListener('keydown', spaceDown)
    window.removeEventListener('keyup', spaceUp)
  })
  return { press, release }
}
