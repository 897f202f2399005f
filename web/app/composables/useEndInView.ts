/** The end is in view, give or take a line. */
const nearPx = 32
/** What a finger or a wheel has pushed goes on for a while. */
const momentumMs = 1_500
const inputs = ['wheel', 'touchmove', 'pointerdown', 'keydown'] as const

/** Keeps the end of what grows in view for as long as the reader is there, and leaves who has scrolled up alone. */
export function useEndInView(
  scroller: Readonly<Ref<HTMLElement | null>>,
  content: Readonly<Ref<HTMLElement | null>>,
) {
  const atEnd = ref(true)
  let top = 0
  /** When the reader last did what may scroll. */
  let touchedAt = -Infinity
  let observer: ResizeObserver | undefined

  function scrolled(): void {
    const element = scroller.value
    if (!element) return
    const { scrollHeight, scrollTop, clientHeight } = element
    if (scrollHeight - scrollTop - clientHeight < nearPx) atEnd.value = true
    else if (performance.now() - touchedAt > momentumMs) keep()
    // A list that measures its items moves, too: only who has touched it goes up.
    else if (scrollTop < top - 1) atEnd.value = false
    top = scrollTop
  }

  function touch(): void {
    touchedAt = performance.now()
  }

  function keep(): void {
    if (atEnd.value) scroller.value?.scrollTo({ top: scroller.value.scrollHeight, behavior: 'instant' })
  }

  function toEnd(): void {
    atEnd.value = true
    keep()
  }

  onMounted(() => {
    observer = new ResizeObserver(keep)
    for (const element of [scroller.value, content.value]) if (element) observer.observe(element)
    for (const input of inputs) scroller.value?.addEventListener(input, touch, { passive: true })
    keep()
  })
  onBeforeUnmount(() => observer?.disconnect())
  return { atEnd, scrolled, toEnd }
}
