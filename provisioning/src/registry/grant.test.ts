/** What a friend may use of ours, from the day it is one until the day it is none. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase, type Database } from '#database.ts'
import { addInvitedFriend, beginJoin, endJoin, removeFriend } from './friend.ts'
import { grantModels, readGrants, revokeModels } from './grant.ts'
import { someNetwork } from './network.fixture.ts'
import { insertNetwork, readRevision } from './network.ts'
import { findAllowance, setAllowance } from './party.ts'
import { changePerson, ensurePerson } from './person.ts'
import { addTenant, listTenants, removeTenant } from './tenant.ts'

let directory: string
let database: Database

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-grants-'))
  database = await openDatabase(join(directory, 'sotto.db'))
  await insertNetwork(database, someNetwork())
})
afterEach(async () => {
  await database.destroy()
  await rm(directory, { recursive: true })
})

const befriend = (name = 'ada') => addInvitedFriend(database, { name, meshId: `mesh-${name}` })
const grantsOf = async (name = 'ada') => (await readGrants(database)).get(`mesh-${name}`)

describe('a friend', () => {
  it('is a tenant of its own that may use nothing, whichever of the two joined', async () => {
    await befriend()
    await beginJoin(
      database,
      { name: 'eve', url: 'wss://eve.example/gateway', ca: undefined, fingerprint: undefined },
      { meshId: 'us', secret: 'secret' },
    )
    await endJoin(database, 'eve', 'mesh-eve')
    for (const name of ['ada', 'eve'])
      expect(await grantsOf(name)).toMatchObject({ tenant: { name: `friend-${name}` }, models: [] })
  })

  it('is granted models by name and loses them again, each time at once', async () => {
    await befriend()
    await befriend('eve')
    const before = await readRevision(database)
    expect(await grantModels(database, 'ada', ['tiny', 'llama3*', 'tiny'])).toEqual(['llama3*', 'tiny'])
    expect(await readRevision(database)).toBeGreaterThan(before)
    expect(await grantsOf('eve')).toMatchObject({ models: [] })
    expect(await revokeModels(database, 'ada', ['tiny'])).toEqual(['llama3*'])
    expect(await grantsOf()).toMatchObject({ models: ['llama3*'] })
  })

  it('is granted none of another friend’s, nor what has no name; what is wrong changes nothing', async () => {
    await befriend()
    for (const model of ['tiny@eve', '*@*', '', 'a\nb'])
      await expect(grantModels(database, 'ada', ['tiny', model])).rejects.toMatchObject({
        code: 'grant_model',
      })
    await expect(grantModels(database, 'eve', ['tiny'])).rejects.toMatchObject({ code: 'friend_missing' })
    await grantModels(database, 'ada', ['tiny'])
    await expect(revokeModels(database, 'ada', ['tiny', 'large'])).rejects.toMatchObject({
      code: 'grant_missing',
    })
    expect(await grantsOf()).toMatchObject({ models: ['tiny'] })
  })

  it('is limited as any tenant, and what lifts its limits grants nothing', async () => {
    await befriend()
    await setAllowance(database, 'tenant:friend-ada', { tokensPerDay: 5 })
    expect((await findAllowance(database, 'tenant:friend-ada')).allowance.tokensPerDay).toBe(5)
    await setAllowance(database, 'tenant:friend-ada', { tokensPerDay: null, models: null, services: null })
    expect(await grantsOf()).toMatchObject({ models: [] })
  })

  it('takes its tenant along, which is nobody else’s meanwhile', async () => {
    await befriend()
    await grantModels(database, 'ada', ['tiny'])
    await ensurePerson(database, 'grace')
    await expect(removeTenant(database, 'friend-ada')).rejects.toMatchObject({ code: 'tenant_in_use' })
    await expect(changePerson(database, 'grace', { tenant: 'friend-ada' })).rejects.toMatchObject({
      code: 'tenant_in_use',
    })
    await removeFriend(database, 'ada')
    expect((await listTenants(database)).map(({ name }) => name)).toEqual(['home'])
    await befriend()
    expect(await grantsOf()).toMatchObject({ models: [] })
  })

  it('does not get into a tenant that there is already', async () => {
    await addTenant(database, 'friend-ada')
    await expect(befriend()).rejects.toMatchObject({ code: 'tenant_exists' })
  })
})
