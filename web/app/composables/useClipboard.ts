/** Copies text, and says for a moment that it did. */
export function useClipboard() {
  const { t } = useI18n()
  const toast = useToast()
  const copied = ref(false)
  let timer: ReturnType<typeof setTimeout> | undefined

  async function copy(text: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text)
    } catch {
      toast.add({ title: t('chat.notCopied'), color: 'error', icon: 'i-lucide-clipboard-x' })
      return
    }
    copied.value = true
    clearTimeout(timer)
    timer = setTimeout(() => (copied.value = false), 2_000)
  }
  onScopeDispose(() => clearTimeout(timer))
  return { copied, copy }
}
