import type { SpeakingVoice, VoiceList } from '@sotto/gateway/protocol/events.ts'
import { ask } from '~/gateway/ask'

/** The voices that answers may have. */
export function useVoices() {
  const preferences = usePreferences()
  const voices = useState<readonly SpeakingVoice[] | undefined>('voices', () => undefined)
  const problem = ref(false)

  async function load(): Promise<void> {
    try {
      voices.value = (await ask<VoiceList>('GET', '/v1/audio/voices')).voices
      problem.value = false
    } catch {
      problem.value = true
    }
  }

  /** The one that was chosen, where the gateway has it still; else none is asked for. */
  const voice = computed(() => voices.value?.find(({ id }) => id === preferences.voice)?.id)
  watch(
    () => preferences.voice !== null && !voices.value,
    (wanted) => void (wanted && load()),
    { immediate: true },
  )
  return { voices, voice, problem, load }
}
