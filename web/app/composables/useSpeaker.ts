/** The browser's own voice, sentence by sentence: for answers that come as text, where the gateway has no voice. */
export function useSpeaker() {
  const speaking = ref(false)
  /** What it has said of the answer, the sentence that it says now among it. */
  const said = ref('')
  const sentences = new Intl.Segmenter(undefined, { granularity: 'sentence' })
  let text = ''
  let queued = 0
  /** Whether what comes next is another answer. */
  let fresh = true

  function add(delta: string): void {
    if (fresh) said.value = ''
    fresh = false
    text += delta
    const parts = [...sentences.segment(text)].map(({ segment }) => segment)
    // The last one may go on.
    text = parts.pop() ?? ''
    for (const part of parts) utter(part)
  }

  function finish(): void {
    utter(text)
    text = ''
    fresh = true
  }

  /** Without a voice, as in some Linux browsers, nothing is spoken and nothing waits for it. */
  function utter(sentence: string): void {
    const words = sentence.replaceAll(/[*_`#>]+/g, '').trim()
    if (!words || !('speechSynthesis' in window) || speechSynthesis.getVoices().length === 0) return
    const utterance = new SpeechSynthesisUtterance(words)
    queued += 1
    speaking.value = true
    utterance.onstart = () => {
      said.value = `${said.value} ${words}`.trim()
    }
    utterance.onend = utterance.onerror = () => {
      queued = Math.max(0, queued - 1)
      speaking.value = queued > 0
    }
    speechSynthesis.speak(utterance)
  }

  function stop(): void {
    text = ''
    fresh = true
    queued = 0
    speaking.value = false
    if ('speechSynthesis' in window) speechSynthesis.cancel()
  }

  // Some browsers load their voices only when they are first asked for.
  onMounted(() => 'speechSynthesis' in window && speechSynthesis.getVoices())
  onBeforeUnmount(stop)
  return { speaking, said, add, finish, stop }
}
