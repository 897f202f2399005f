const key = 'sotto.model'

/** The model that was chosen last: this browser remembers it for the next conversation. */
export function usePreferredModel() {
  const preferred = ref(remembered())
  watch(preferred, (name) => {
    try {
      if (name !== undefined) localStorage.setItem(key, name)
    } catch {
      // A browser that keeps nothing takes the gateway's first.
    }
  })
  return preferred
}

function remembered(): string | undefined {
  try {
    return localStorage.getItem(key) ?? undefined
  } catch {
    return undefined
  }
}
