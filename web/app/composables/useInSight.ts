/** Whether an element can be seen now; `before` there is one, what is said here. */
export function useInSight(element: Readonly<Ref<Element | null>>, before: boolean): Readonly<Ref<boolean>> {
  const seen = ref(before)
  // Somewhat before it comes into view.
  const observer = new IntersectionObserver(
    (entries) => (seen.value = entries.at(-1)?.isIntersecting ?? before),
    { rootMargin: '100px' },
  )
  watch(
    element,
    (now, then) => {
      if (then) observer.unobserve(then)
      if (now) observer.observe(now)
      else seen.value = before
    },
    { immediate: true, flush: 'post' },
  )
  onScopeDispose(() => observer.disconnect())
  return readonly(seen)
}
