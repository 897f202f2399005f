const key = 'sotto.hands-free'

/** Whether the person wants to talk without touching anything; this browser remembers it. */
export function useHandsFree() {
  const handsFree = ref(remembered())
  watch(handsFree, (on) => {
    try {
      localStorage.setItem(key, on ? 'on' : 'off')
    } catch {
      // A browser that keeps nothing asks again the next time.
    }
  })
  return handsFree
}

function remembered(): boolean {
  try {
    return localStorage.getItem(key) === 'on'
  } catch {
    return false
  }
}
