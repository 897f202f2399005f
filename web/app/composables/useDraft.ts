const prefix = 'sotto.draft.'

/** What is typed and not sent, kept by this browser for each conversation. */
export function useDraft(conversation: () => string | undefined) {
  const text = ref(read(conversation()))
  watch(conversation, (id) => (text.value = read(id)))
  watch(text, (now) => {
    try {
      const key = prefix + (conversation() ?? 'new')
      if (now) localStorage.setItem(key, now)
      else localStorage.removeItem(key)
    } catch {
      // A browser that keeps nothing has it for as long as the page is open.
    }
  })
  return text
}

function read(conversation: string | undefined): string {
  try {
    return localStorage.getItem(prefix + (conversation ?? 'new')) ?? ''
  } catch {
    return ''
  }
}
