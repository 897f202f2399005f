/** What the admin's page grants to friends: all of it at once, and to nobody else. */
import { addInvitedFriend } from '@sotto/provisioning/registry/friend.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { serveOllama, type FakeOllama } from '#engines/upstream.fixture.ts'
import type { GrantList } from '#protocol/admin.ts'
import type { Refusal } from '#protocol/devices.ts'
import { serveAdmin, type ServedAdmin } from './admin.fixture.ts'

let admin: ServedAdmin
let ollama: FakeOllama
beforeEach(async () => {
  ollama = await serveOllama(undefined, { models: [{ name: 'tiny:latest' }] })
  admin = await serveAdmin({ ollama: ollama.url })
  await addInvitedFriend(admin.database, { name: 'eve', meshId: 'mesh-eve' })
})
afterEach(async () => {
  await admin.close()
  await ollama.close()
})

const list = async () => (await admin.ask('/sotto/admin/grants')).json() as GrantList

describe('grants', () => {
  it('are none at first; those that are sent take the place of those before', async () => {
    const eve = { name: 'eve', connected: false, granted: [], shared: [] }
    expect(await list()).toEqual({ friends: [eve], models: ['tiny:latest'] })
    const granted = await admin.change('PUT', 'grants/eve', { models: ['tiny', 'llama3*', 'tiny'] })
    expect(granted.json()).toEqual({ ...eve, granted: ['llama3*', 'tiny'] })
    await admin.change('PUT', 'grants/eve', { models: ['llama3*'] })
    expect((await list()).friends).toEqual([{ ...eve, granted: ['llama3*'] }])
    await admin.change('PUT', 'grants/eve', { models: [] })
    expect((await list()).friends).toEqual([eve])
  })

  it('are refused for nobody, and for what is not ours', async () => {
    const refused = async (friend: string, models: readonly string[]) => {
      const answer = await admin.change('PUT', `grants/${friend}`, { models })
      return [answer.status, (answer.json() as Refusal).error.code]
    }
    expect(await refused('bob', ['tiny'])).toEqual([404, 'friend_missing'])
    expect(await refused('eve', ['tiny@bob'])).toEqual([400, 'grant_model'])
    expect((await list()).friends).toMatchObject([{ granted: [] }])
  })

  it('show what a friend is held to as a tenant’s limits', async () => {
    const party = encodeURIComponent('tenant:friend-eve')
    const limited = await admin.change('PATCH', `limits/${party}`, { tokensPerDay: 1_000 })
    expect(limited.json()).toMatchObject({ party: 'tenant:friend-eve', limits: { tokensPerDay: 1_000 } })
    const gone = await admin.change('DELETE', 'tenants/friend-eve')
    expect(gone.status).toBe(409)
  })
})
