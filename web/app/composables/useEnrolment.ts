import type { EnrolmentAnswer } from '@sotto/gateway/protocol/devices.ts'
import { ask } from '~/gateway/ask'

export type Step = 'offer' | 'working' | 'done' | 'damaged'

/** Trades the one-time link in the address for a device whose key is made here. */
export function useEnrolment() {
  const { words } = useTelling()
  const step = ref<Step>('offer')
  const name = ref('')
  const config = ref('')
  const problem = ref<string>()
  /** Whether this browser can make the key. */
  const canMakeKey = ref(true)
  const keyMadeHere = ref(false)
  let token = ''

  onMounted(async () => {
    const link = parse(location.hash.slice(1))
    // Out of the address bar and the history: the link is a secret until it is used.
    history.replaceState(history.state, '', location.pathname)
    if (!link) {
      step.value = 'damaged'
      return
    }
    token = link.token
    name.value = link.name
    canMakeKey.value = await makeKeyPair().then(
      () => true,
      () => false,
    )
  })

  async function enrol(): Promise<void> {
    step.value = 'working'
    problem.value = undefined
    try {
      const pair = canMakeKey.value ? await makeKeyPair() : undefined
      const enrolled = await ask<EnrolmentAnswer>('POST', '/sotto/enrolment', {
        token,
        ...(pair && { publicKey: pair.publicKey }),
      })
      name.value = enrolled.device.name
      keyMadeHere.value = pair !== undefined
      config.value = pair ? enrolled.config.replace('PRIVATE_KEY', pair.privateKey) : enrolled.config
      step.value = 'done'
    } catch (error) {
      const { message, remedy } = words(error)
      problem.value = `${message} ${remedy}`
      step.value = 'offer'
    }
  }

  return { step, name, config, problem, canMakeKey, keyMadeHere, enrol }
}

function parse(payload: string): { token: string; name: string } | undefined {
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll('-', '+').replaceAll('_', '/')), (char) =>
      char.charCodeAt(0),
    )
    const link: unknown = JSON.parse(new TextDecoder().decode(bytes))
    if (typeof link !== 'object' || link === null || !('token' in link) || !('name' in link)) return undefined
    const { token, name } = link
    return typeof token === 'string' && typeof name === 'string' ? { token, name } : undefined
  } catch {
    return undefined
  }
}

/** As `wg genkey` and `wg pubkey` write them. Rejects where the browser has no X25519. */
async function makeKeyPair(): Promise<{ privateKey: string; publicKey: string }> {
  const pair = await crypto.subtle.generateKey('X25519', true, ['deriveBits'])
  if (!('privateKey' in pair)) throw new TypeError('no key pair')
  const { d = '', x = '' } = await crypto.subtle.exportKey('jwk', pair.privateKey)
  return { privateKey: base64(d), publicKey: base64(x) }
}

function base64(base64url: string): string {
  return `${base64url.replaceAll('-', '+').replaceAll('_', '/')}=`
}
