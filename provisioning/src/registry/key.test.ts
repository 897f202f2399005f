/** Keys, tenants and allowances through their public functions, on a real database. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase, type Database } from '#database.ts'
import { readAccess } from './access.ts'
import {
  addKey,
  expireKey,
  findKey,
  isUsable,
  listKeys,
  removeKey,
  rotateKey,
  setKeyDisabled,
} from './key.ts'
import { someNetwork } from './network.fixture.ts'
import { insertNetwork, readRevision } from './network.ts'
import { setAllowance } from './party.ts'
import { changePerson, ensurePerson, type Person } from './person.ts'
import { isOurs, readPrefix, verifySecret } from './secret.ts'
import { addTenant, listTenants, removeTenant, setTenantDisabled } from './tenant.ts'

let directory: string
let database: Database
let ada: Person

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-keys-'))
  database = await openDatabase(join(directory, 'sotto.db'))
  await insertNetwork(database, someNetwork())
  ada = await ensurePerson(database, 'ada')
})
afterEach(async () => {
  await database.destroy()
  await rm(directory, { recursive: true })
})

describe('a key', () => {
  it('is shown once: what is kept of it proves it and does not show it', async () => {
    const { key, secret } = await addKey(database, { name: 'script', person: ada })
    expect(isOurs(secret)).toBe(true)
    expect(key.secrets.map(({ prefix }) => prefix)).toEqual([readPrefix(secret)])
    const hash = key.secrets[0]?.hash ?? ''
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
    expect(await verifySecret(hash, secret)).toBe(true)
    expect(await verifySecret(hash, `${secret}x`)).toBe(false)
    const random = secret.slice(-49)
    const kept = await database.selectFrom('key_secrets').selectAll().execute()
    expect(JSON.stringify(kept)).not.toContain(random)
    for (const file of await readdir(directory))
      expect((await readFile(join(directory, file))).includes(random), file).toBe(false)
  })

  it('tells one that was mistyped from one that is unknown, without a look into the registry', async () => {
    const { secret } = await addKey(database, { name: 'script', person: ada })
    for (let at = 20; at < secret.length; at += 7) {
      const other = secret[at] === 'A' ? 'B' : 'A'
      expect(
        readPrefix(secret.slice(0, at) + other + secret.slice(at + 1)),
        `character ${at}`,
      ).toBeUndefined()
    }
  })

  it('goes on with its old secret for the overlap, and no longer; another rotation prolongs nothing', async () => {
    const now = new Date('2026-11-21T12:00:00Z')
    await addKey(database, { name: 'script', person: ada }, now)
    await rotateKey(database, 'script', 3_600_000, now)
    const { key } = await rotateKey(database, 'script', 86_400_000, now)
    expect(key.secrets.map(({ expiresAt }) => expiresAt)).toEqual([
      '2026-11-21T13:00:00.000Z',
      '2026-11-22T12:00:00.000Z',
      null,
    ])
  })

  it('is of use until it is disabled or past its time, and its name is free when it is removed', async () => {
    await addKey(database, { name: 'script', person: ada })
    expect(isUsable(await setKeyDisabled(database, 'script', true))).toBe(false)
    expect(isUsable(await setKeyDisabled(database, 'script', false))).toBe(true)
    expect(isUsable(await expireKey(database, 'script', new Date(Date.now() - 1)))).toBe(false)
    expect(isUsable(await expireKey(database, 'script', null))).toBe(true)
    await expect(addKey(database, { name: 'script', person: ada })).rejects.toThrow('There is a key named')
    await removeKey(database, 'script')
    await expect(findKey(database, 'script')).rejects.toThrow('There is no key named')
    await addKey(database, { name: 'script', person: ada })
    expect(await listKeys(database)).toHaveLength(1)
  })

  it('is refused with what is wrong: its range, its end, its limits', async () => {
    const add = (wanted: object) => addKey(database, { name: 'bad', person: ada, ...wanted })
    await expect(add({ ranges: ['10.77.0.0/33'] })).rejects.toThrow('“10.77.0.0/33” is no address')
    await expect(add({ expiresAt: new Date(0) })).rejects.toThrow('can’t expire in the past')
    await expect(add({ allowance: { tokensPerDay: -1 } })).rejects.toThrow('tokensPerDay')
    expect(await listKeys(database)).toEqual([])
    expect((await add({ name: 'one', ranges: ['10.77.0.5', 'fd00::5'] })).key.ranges).toEqual([
      '10.77.0.5/32',
      'fd00::5/128',
    ])
  })
})

describe('a tenant', () => {
  it('has everybody from the start, and takes people with what they have', async () => {
    const { key } = await addKey(database, { name: 'script', person: ada })
    const guests = await addTenant(database, 'guests')
    await changePerson(database, 'ada', { tenant: 'guests' })
    expect(await listTenants(database)).toMatchObject([
      { name: 'home', people: [] },
      { name: 'guests', people: ['ada'] },
    ])
    const access = await readAccess(database)
    expect(access.tenants.get(key.personId)).toMatchObject({ id: guests.id })
    await expect(removeTenant(database, 'guests')).rejects.toThrow('ada belong to “guests”')
    await expect(removeTenant(database, 'home')).rejects.toThrow('The first tenant stays')
    await changePerson(database, 'ada', { tenant: 'home' })
    await removeTenant(database, 'guests')
    await expect(changePerson(database, 'ada', { tenant: 'guests' })).rejects.toThrow('There is no tenant')
    await expect(changePerson(database, 'nobody', { tenant: 'home' })).rejects.toThrow('There is no person')
  })

  it('that is disabled is so for the gateway, with each change told by the revision', async () => {
    await addTenant(database, 'guests')
    const before = await readRevision(database)
    await setTenantDisabled(database, 'guests', true)
    expect(await readRevision(database)).toBeGreaterThan(before)
    expect((await listTenants(database)).find(({ name }) => name === 'guests')?.disabledAt).not.toBeNull()
  })
})

describe('an allowance', () => {
  it('is changed part by part, of whom people name', async () => {
    const { key } = await addKey(database, { name: 'script', person: ada })
    await setAllowance(database, 'key:script', { tokensPerDay: 100, models: ['tiny*'] })
    await setAllowance(database, 'key:script', { tokensPerDay: null, concurrent: 2 })
    await setAllowance(database, 'tenant:home', { requestsPerMinute: 9 })
    const { allowances } = await readAccess(database)
    expect(allowances.get(`key:${key.id}`)).toMatchObject({
      tokensPerDay: null,
      concurrent: 2,
      models: ['tiny*'],
    })
    expect(allowances.get('tenant:home')).toMatchObject({ requestsPerMinute: 9, models: null })
    for (const party of ['key:nobody', 'tenant:nobody', 'device:nobody', 'person:ada', 'script'])
      await expect(setAllowance(database, party, { concurrent: 1 })).rejects.toThrow(
        /There is no|is no tenant:/,
      )
    await expect(setAllowance(database, 'tenant:home', { concurrent: 0.5 })).rejects.toThrow('concurrent')
  })

  it('says to the gateway when something ends by itself', async () => {
    const { key } = await addKey(database, {
      name: 'brief',
      person: ada,
      expiresAt: new Date(Date.now() + 60_000),
    })
    expect((await readAccess(database)).until).toBe(Date.parse(key.expiresAt ?? ''))
  })
})
