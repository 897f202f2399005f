import type { Confirmation } from '@sotto/gateway/protocol/admin.ts'
import { LazyAdminConfirmation } from '#components'
import { ask, Refused } from '~/gateway/ask'

/** The confirmation that is being asked for: one dialog, whatever many changes wait for it. */
let asked: Promise<boolean> | undefined

/** Reads and changes what the admin's pages show, under `/sotto/admin`. */
export function useAdmin() {
  const { look } = useMe()
  const { tell } = useTelling()
  const overlay = useOverlay()

  /** Throws `Refused`. */
  function read<T>(path: string): Promise<T> {
    return ask('GET', `/sotto/admin${path}`)
  }

  /**
   * Changes something; where the gateway wants a confirmation first, asks for it and goes on. Throws `Refused`,
   * with the code `confirmation_required` where the person thinks better of it.
   */
  async function change<T = void>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown) {
    const send = (): Promise<T> => ask(method, `/sotto/admin${path}`, body)
    try {
      return await send()
    } catch (error) {
      if (!needsConfirmation(error) || !(await confirm())) throw error
      return send()
    }
  }

  /** Does a task and tells why it was refused. Resolves to whether it was done. */
  async function attempt(task: () => Promise<unknown>): Promise<boolean> {
    try {
      await task()
      return true
    } catch (error) {
      if (!needsConfirmation(error)) tell(error)
      return false
    }
  }

  function confirm(): Promise<boolean> {
    asked ??= overlay
      .create(LazyAdminConfirmation, { destroyOnClose: true })
      .open()
      .result.then((confirmed) => confirmed === true)
      .finally(() => (asked = undefined))
    return asked
  }

  /** Throws `Refused` for a wrong code or password. */
  async function prove(by: Confirmation): Promise<void> {
    await ask('POST', '/sotto/admin/confirmation', by)
    await look()
  }

  /** Until the next confirmation, this browser changes nothing. */
  async function lock(): Promise<void> {
    await ask('DELETE', '/sotto/admin/confirmation')
    await look()
  }

  return { read, change, attempt, prove, lock }
}

function needsConfirmation(error: unknown): boolean {
  return error instanceof Refused && error.code === 'confirmation_required'
}
