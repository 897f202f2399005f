/** People through their public functions, on a real database. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase, type Database } from '#database.ts'
import { makeKeyPair } from '#overlay/keys.ts'
import { addDevice, removeDevice } from './device.ts'
import { addKey, removeKey } from './key.ts'
import { makeLink, withdrawLink } from './link.ts'
import { someNetwork } from './network.fixture.ts'
import { insertNetwork, readRevision, requireNetwork } from './network.ts'
import { addPerson, changePerson, ensurePerson, firstPerson, personOf, removePerson } from './person.ts'
import { addRule, nameRules } from './rule.ts'
import { addTenant } from './tenant.ts'
import { viewPeople } from './view.ts'

let directory: string
let database: Database

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-people-'))
  database = await openDatabase(join(directory, 'sotto.db'))
  await insertNetwork(database, someNetwork())
})
afterEach(async () => {
  await database.destroy()
  await rm(directory, { recursive: true })
})

const names = async () =>
  (await viewPeople(database)).flatMap(({ name, people }) => people.map((one) => `${name}/${one.name}`))

describe('people', () => {
  it('have an admin before anybody else, whoever is named first', async () => {
    await addPerson(database, 'Bob')
    await personOf(database, 'Cleo')
    expect((await firstPerson(database)).name).toBe('admin')
    expect(await names()).toEqual(['home/admin', 'home/Bob', 'home/Cleo'])
    expect((await personOf(database, undefined)).name).toBe('admin')
  })

  it('are added to a tenant or not at all, and a gateway sees it', async () => {
    await ensurePerson(database, 'ada')
    await addTenant(database, 'guests')
    const before = await readRevision(database)
    await addPerson(database, 'Bob', 'guests')
    expect(await readRevision(database)).toBeGreaterThan(before)
    await expect(addPerson(database, 'Cleo', 'none')).rejects.toMatchObject({ code: 'tenant_missing' })
    await expect(addPerson(database, 'Bob')).rejects.toMatchObject({ code: 'person_exists' })
    await expect(addPerson(database, '../x')).rejects.toThrow('letters')
    expect(await names()).toEqual(['home/ada', 'guests/Bob'])
  })

  it('change name and tenant together or not at all', async () => {
    await ensurePerson(database, 'ada')
    await addPerson(database, 'Bob')
    await addTenant(database, 'guests')
    await expect(changePerson(database, 'Bob', { name: 'ada', tenant: 'guests' })).rejects.toMatchObject({
      code: 'person_exists',
    })
    expect(await names()).toEqual(['home/ada', 'home/Bob'])
    await changePerson(database, 'Bob', { name: 'Robert', tenant: 'guests' })
    // The same name again is no clash with oneself.
    await changePerson(database, 'Robert', { name: 'Robert' })
    expect(await names()).toEqual(['home/ada', 'guests/Robert'])
  })

  it('go when nothing is theirs: no device, key or waiting link', async () => {
    await ensurePerson(database, 'ada')
    const bob = await addPerson(database, 'Bob')
    const network = await requireNetwork(database)
    const { publicKey } = makeKeyPair()
    await addDevice(database, network, { name: 'tablet', person: bob, publicKey })
    await addKey(database, { name: 'cron', person: bob })
    await makeLink(database, network, { name: 'nas', person: bob })
    await addRule(database, { action: 'allow', from: 'person:Bob', to: 'host' })
    await addRule(database, { action: 'allow', from: 'person:ada', to: 'host' })
    await expect(removePerson(database, 'Bob')).rejects.toThrow(
      '“tablet”, “cron”, the link for “nas” still belong to Bob',
    )
    await removeDevice(database, 'tablet')
    await removeKey(database, 'cron')
    await withdrawLink(database, 'nas')
    await removePerson(database, 'Bob')
    expect(await names()).toEqual(['home/ada'])
    expect(await nameRules(database)).toMatchObject([{ from: 'person:ada' }])
    // Another one of that name is somebody else.
    expect((await addPerson(database, 'Bob')).id).not.toBe(bob.id)
    await expect(removePerson(database, 'ada')).rejects.toThrow('admin')
  })
})
