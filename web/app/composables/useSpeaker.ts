/** Speaks an answer while it is being written, with the browser's own voice, sentence by sentence. */
export function useSpeaker() {
  const muted = ref(false)
  const speaking = ref(false)
  const sentences = new Intl.Segmenter(undefined, { granularity: 'sentence' })
  let text = ''
  let queued = 0

  /** Without a voice, as in some Linux browsers, nothing is spoken and nothing waits for it. */
  function canSpeak(): boolean {
    return !muted.value && 'speechSynthesis' in window && speechSynthesis.getVoices().length > 0
  }

  function add(delta: string): void {
    text += delta
    const parts = [...sentences.segment(text)].map(({ segment }) => segment)
    // The last one may go on.
    text = parts.pop() ?? ''
    for (const part of parts) utter(part)
  }

  function finish(): void {
    utter(text)
    text = ''
  }

  function utter(sentence: string): void {
    const words = sentence.replaceAll(/[*_`#>]+/g, '').trim()
    if (!words || !canSpeak()) return
    const utterance = new SpeechSynthesisUtterance(words)
    queued += 1
    speaking.value = true
    utterance.onend = utterance.onerror = () => {
      queued = Math.max(0, queued - 1)
      speaking.value = queued > 0
    }
    speechSynthesis.speak(utterance)
  }

  function stop(): void {
    text = ''
    queued = 0
    speaking.value = false
    if ('speechSynthesis' in window) speechSynthesis.cancel()
  }

  watch(muted, (now) => now && stop())
  // Some browsers load their voices only when they are first asked for.
  onMounted(() => 'speechSynthesis' in window && speechSynthesis.getVoices())
  onBeforeUnmount(stop)
  return { muted, speaking, add, finish, stop }
}
