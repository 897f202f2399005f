/**
 * Passwords, looked at one after the other: a flood of guesses takes one thread of the pool. Who has none takes
 * as long as who has.
 */
import { hashSecret, verifySecret } from '@sotto/provisioning/registry/secret.ts'
import { Failure } from '../failure.ts'

export interface Passwords {
  /** @param hash null or undefined where there is none: then nothing is right. Throws a `Failure` where too many wait. */
  isRight(hash: string | null | undefined, password: string): Promise<boolean>
}

/** Half a second of guesses. */
const maxWaiting = 32

export function createPasswords(): Passwords {
  let turn: Promise<unknown> = Promise.resolve()
  let waiting = 0
  let nobodys: Promise<string> | undefined
  return {
    async isRight(hash, password) {
      if (waiting >= maxWaiting)
        throw new Failure('busy', 'Too many people sign in at this moment.', undefined, {
          retryAfter: 1,
          remedy: 'Try again in a moment.',
        })
      waiting += 1
      const task = turn.then(async () => {
        nobodys ??= hashSecret('nobody has this one')
        const right = await verifySecret(hash ?? (await nobodys), password)
        return right && hash != null
      })
      turn = task.catch(() => {})
      return task.finally(() => (waiting -= 1))
    },
  }
}
