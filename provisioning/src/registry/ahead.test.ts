/** What was made by a clock that was ahead, and was set right meanwhile. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { openDatabase, type Database } from '#database.ts'
import { makeKeyPair } from '#overlay/keys.ts'
import { confirmByCode, confirmedUntil, makeAdminCode } from './confirmation.ts'
import { addDevice, expireDevice, isAdmitted, listDevices } from './device.ts'
import { someNetwork } from './network.fixture.ts'
import { insertNetwork } from './network.ts'
import { ensurePerson } from './person.ts'
import { openSession, readSession } from './session.ts'
import { watchRegistry } from './watch.ts'

const day = 86_400_000
let directory: string
let database: Database

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-ahead-'))
  database = await openDatabase(join(directory, 'sotto.db'))
  await insertNetwork(database, someNetwork())
})
afterEach(async () => {
  vi.useRealTimers()
  await database.destroy()
  await rm(directory, { recursive: true })
})

/** A clock that is ahead by a day, until it is set right. */
const ahead = () => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + day })
  return () => vi.setSystemTime(Date.now() - day)
}

it('a code that was good for ten minutes is not good for a day', async () => {
  const setRight = ahead()
  const code = await makeAdminCode(database)
  setRight()
  await expect(confirmByCode(database, code, 'host')).rejects.toMatchObject({ code: 'confirmation_wrong' })
  expect(await confirmByCode(database, await makeAdminCode(database), 'host')).toHaveProperty('token')
})

it('a confirmation is asked for again, and a session signed in to', async () => {
  const { id: personId } = await ensurePerson(database, 'Ada')
  const browser = { personId, address: '10.77.0.2', agent: '' }
  const setRight = ahead()
  const { token } = await confirmByCode(database, await makeAdminCode(database), 'host')
  const session = await openSession(database, browser)
  expect(await confirmedUntil(database, token, 'host')).toBeDefined()
  expect(await readSession(database, session.token)).toBeDefined()
  setRight()
  expect(await confirmedUntil(database, token, 'host')).toBeUndefined()
  expect(await readSession(database, session.token)).toBeUndefined()
  expect(await readSession(database, (await openSession(database, browser)).token)).toBeDefined()
})

it('what had ended by it is there again, and ends at its time', async () => {
  const person = await ensurePerson(database, 'Ada')
  await addDevice(database, someNetwork(), {
    name: 'phone',
    person,
    publicKey: makeKeyPair().publicKey,
  })
  await expireDevice(database, 'phone', new Date(Date.now() + day / 2))
  const admitted: boolean[] = []
  const look = async (): Promise<number> => {
    const [device] = await listDevices(database)
    if (!device) throw new Error('it was added')
    admitted.push(isAdmitted(device))
    const ends = Date.parse(device.expiresAt ?? '')
    return ends > Date.now() ? ends : Infinity
  }
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
  const stop = watchRegistry(database, await look(), look, () => {})
  const seen = (wanted: boolean[]) => vi.waitFor(() => expect(admitted).toEqual(wanted), { timeout: 20_000 })
  try {
    vi.setSystemTime(Date.now() + day)
    await seen([true, false])
    vi.setSystemTime(Date.now() - day)
    await seen([true, false, true])
    vi.setSystemTime(Date.now() + day)
    await seen([true, false, true, false])
  } finally {
    await stop()
  }
})
