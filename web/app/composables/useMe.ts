import type { Me } from '@sotto/gateway/protocol/admin.ts'
import { ask, Refused } from '~/gateway/ask'
import { keepFor } from '~/gateway/last-seen'

/** On its way: who asks meanwhile waits for the same answer. */
let asking: Promise<void> | undefined

/** Who this browser is to the gateway: asked once by the page, and again by `look`. */
export function useMe() {
  const me = useState<Me>('me')
  const problem = useState<Refused | undefined>('me-problem')

  async function read(): Promise<void> {
    try {
      const now = await ask<Me>('GET', '/sotto/me')
      me.value = now
      void keepFor(JSON.stringify([now.tenant, now.person ?? now.name]))
      problem.value = undefined
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      problem.value = error
    } finally {
      asking = undefined
    }
  }
  function look(): Promise<void> {
    asking ??= read()
    return asking
  }
  if (!me.value) void look()
  return { me, problem, look }
}
