import type { EngineStates } from '@sotto/gateway/protocol/events.ts'
import { ask } from '~/gateway/ask'

export type Verdict = 'checking' | 'good' | 'bad'

/** What is looked at again until it is good. */
const againMs = 2_500

/** What a device needs to talk, found out by the page itself, again and again until all is well. */
export function useWelcome() {
  const { me, problem, look: askWho } = useMe()
  const { voices, load: loadVoices } = useVoices()
  const reached = ref<Verdict>('checking')
  const trusted = ref<Verdict>('checking')
  const engines = ref<EngineStates>()
  /** Whether the gateway tells of a voice. Its engine may not tell, and without one the browser speaks. */
  const speaks = computed(() => Boolean(voices.value?.length))
  const answering = computed<Verdict>(() => {
    if (!engines.value) return reached.value === 'bad' ? 'bad' : 'checking'
    const { chat, transcription } = engines.value
    return [chat, transcription].every(({ kind, ready }) => kind !== 'demo' && ready) ? 'good' : 'bad'
  })
  let timer: ReturnType<typeof setTimeout> | undefined

  async function look(): Promise<void> {
    await Promise.all([
      reached.value !== 'good' && reach(),
      trusted.value !== 'good' && trust(),
      answering.value !== 'good' && readEngines(),
    ])
    timer = setTimeout(() => void look(), againMs)
  }

  async function reach(): Promise<void> {
    await askWho()
    reached.value = problem.value ? 'bad' : 'good'
  }

  async function trust(): Promise<void> {
    trusted.value = (await isTrusted()) ? 'good' : 'bad'
  }

  async function readEngines(): Promise<void> {
    const health = await ask<{ readonly engines: EngineStates }>('GET', '/health').catch(() => undefined)
    engines.value = health?.engines
    if (health && !voices.value) await loadVoices()
  }

  onMounted(() => void look())
  onBeforeUnmount(() => clearTimeout(timer))
  return { me, problem, reached, trusted, engines, speaks, answering }
}

/**
 * A page behind a clicked-away warning is a secure context, too; but a service worker is refused to it.
 * Where there are none, as in Firefox's private windows, nothing more can be known.
 */
async function isTrusted(): Promise<boolean> {
  if (!isSecureContext) return false
  if (!('serviceWorker' in navigator)) return true
  try {
    const registration = await navigator.serviceWorker.register('/trust-check.js', { scope: '/trust-check/' })
    await registration.unregister()
    return true
  } catch {
    return false
  }
}
