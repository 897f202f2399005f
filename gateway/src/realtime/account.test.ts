import { expect, it } from 'vitest'
import type { Member } from '#identity/caller.ts'
import { nobodySpecial } from './account.fixture.ts'
import { createAccount } from './account.ts'

it('each answer is charged to its caller as the admin has it now, by a connection that counts already', async () => {
  const admitted: object[] = []
  let now: Member = nobodySpecial.caller
  const account = createAccount({
    ...nobodySpecial,
    current: () => now,
    admission: {
      ...nobodySpecial.admission,
      async admit(caller, { connected }) {
        admitted.push({ name: caller.name, connected })
        return { headers: {}, output: undefined, settle() {} }
      },
    },
  })
  const charge = async () => {
    const never = new AbortController().signal
    for await (const _ of account.charge({ model: null, messages: [] }, never, async function* answer() {
      yield 'Hello.'
    }));
  }
  await charge()
  now = { ...now, name: 'phone, limited' }
  await charge()
  expect(admitted).toEqual([
    { name: 'phone', connected: true },
    { name: 'phone, limited', connected: true },
  ])
})
