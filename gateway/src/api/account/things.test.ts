/**
 * What is one's own: keys no wider than the tenant's, nothing of anybody else's, and an end of it all. In the seed
 * keys lay in clear, and an account that was deleted was only suspended.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listKeys } from '@sotto/provisioning/registry/key.ts'
import { noteLender } from '@sotto/provisioning/registry/lender.ts'
import { setAllowance } from '@sotto/provisioning/registry/party.ts'
import { leave, listPeople } from '@sotto/provisioning/registry/person.ts'
import { endDepartures } from '#accounts/departures.ts'
import { said as words } from '#conversations/open.fixture.ts'
import type { Account, MadeOwnKey, OwnKeys, OwnLenders, OwnUsage } from '#protocol/account.ts'
import { serveAccounts, type ServedAccounts, type Visitor } from './account.fixture.ts'

const password = 'four words are enough'
let served: ServedAccounts
let cleo: Visitor

beforeEach(async () => {
  served = await serveAccounts()
  await served.join('Cleo', password, 'cleo@example.org')
  await served.join('Bob', password)
  cleo = await served.signIn('Cleo', password)
})
afterEach(() => served.close())

const make = (by: Visitor, name: string, ...services: string[]) => by.ask('POST', '/keys', { name, services })
const keysOf = async (by: Visitor) =>
  ((await by.ask('GET', '/keys')).json() as OwnKeys).keys.map(({ name }) => name)

async function use(person: string, key: string, keyId: string): Promise<void> {
  const row = {
    at: Date.now(),
    request_id: 'req_1',
    tenant: 'home',
    person,
    device_id: null,
    device: 'outside',
    key_id: keyId,
    key,
    address: '127.200.0.9',
    method: 'POST',
    path: `/users/${person}/rig/v1/chat/completions`,
    service: 'chat',
    model: 'tiny',
    backend: `${person}/rig`,
    status: 200,
    refusal: null,
    input_tokens: 5,
    output_tokens: 3,
    counted: 'upstream',
    queued_ms: 0,
    first_byte_ms: 20,
    duration_ms: 90,
    ended: 'whole',
  }
  served.records.recorder.ledger.record(row)
  await served.records.flush()
}

describe('keys of one’s own', () => {
  it('are for lending and for models, shown once, rotated and ended', async () => {
    const made = await make(cleo, 'rig', 'lend', 'chat')
    expect(made.status).toBe(201)
    const { key, secret } = made.json() as MadeOwnKey
    expect(key).toMatchObject({ name: 'rig', person: 'Cleo', services: ['lend', 'chat'], state: 'active' })
    expect(secret).toMatch(/^sk-sotto-/)
    expect((await cleo.ask('GET', '/keys')).text).not.toContain(secret)
    const rotated = await cleo.ask('POST', '/keys/rig/rotation', { overlapMs: 0 })
    expect((rotated.json() as MadeOwnKey).secret).not.toBe(secret)
    expect((await cleo.ask('DELETE', '/keys/rig')).status).toBe(204)
    expect(await keysOf(cleo)).toEqual([])
    const paths = (await served.audit()).map(({ method, path, person }) => `${person} ${method} ${path}`)
    expect(paths).toContain('Cleo POST /sotto/account/keys/rig')
    expect(paths).toContain('Cleo DELETE /sotto/account/keys/rig')
  })

  it('open no more than the admin allows the tenant', async () => {
    await setAllowance(served.database, 'tenant:home', { services: ['chat', 'embeddings'] })
    expect(((await cleo.ask('GET', '/me')).json() as Account).services).toEqual(['chat', 'embeddings'])
    for (const service of ['lend', 'images', 'rerank', 'no-such'])
      expect((await make(cleo, 'wide', 'chat', service)).refusal(), service).toEqual([403, 'key_scope'])
    expect((await make(cleo, 'none')).refusal()).toEqual([400, 'invalid'])
    expect((await make(cleo, 'narrow', 'chat')).status).toBe(201)
    expect(await listKeys(served.database)).toHaveLength(1)
  })

  it('of somebody else are as if there were none', async () => {
    const bob = await served.signIn('Bob', password)
    await make(bob, 'cron', 'chat')
    expect(await keysOf(cleo)).toEqual([])
    for (const [method, path] of [
      ['DELETE', '/keys/cron'],
      ['POST', '/keys/cron/rotation'],
      ['DELETE', '/keys/nobody’s'],
    ] as const)
      expect((await cleo.ask(method, encodeURI(path))).refusal()).toEqual([404, 'key_missing'])
    expect(await keysOf(bob)).toEqual(['cron'])
  })

  it('want a session', async () => {
    for (const [method, path] of [
      ['GET', '/keys'],
      ['GET', '/lenders'],
      ['GET', '/usage'],
      ['GET', '/export'],
      ['GET', '/ca.crt'],
      ['POST', '/keys'],
      ['DELETE', '/me'],
    ] as const)
      expect((await served.visitor().ask(method, path)).refusal(), path).toEqual([401, 'signed_out'])
  })
})

it('lenders and usage are one’s own alone', async () => {
  const offer = {
    version: '1',
    ollama: true,
    whisper: false,
    services: [],
    parallel: 4,
    hardware: { system: 'Linux', cpu: { model: 'x', cores: 8 }, memoryBytes: 1e9, gpus: [] },
  }
  for (const { id, name } of await listPeople(served.database))
    await noteLender(served.database, {
      personId: id,
      name: `rig-of-${name.toLowerCase()}`,
      key: 'rig',
      address: '192.0.2.7',
      offer: JSON.stringify(offer),
    })
  await use('Cleo', 'rig', 'k1')
  await use('Bob', 'cron', 'k2')
  const { lenders } = (await cleo.ask('GET', '/lenders')).json() as OwnLenders
  expect(lenders).toMatchObject([{ name: 'rig-of-cleo', connected: false, address: '192.0.2.7' }])
  const { rows } = (await cleo.ask('GET', '/usage?days=7')).json() as OwnUsage
  expect(rows).toMatchObject([{ person: 'Cleo', model: 'tiny', requests: 1, inputTokens: 5 }])
})

it('all that is kept of one is one file, and nothing of anybody else', async () => {
  await make(cleo, 'rig', 'chat')
  await use('Cleo', 'rig', 'k1')
  await use('Bob', 'cron', 'k2')
  const answer = await cleo.ask('GET', '/export')
  expect(answer.headers['content-disposition']).toMatch(/^attachment; filename=sotto-account-/)
  const read = answer.json()
  expect(read).toMatchObject({
    person: 'Cleo',
    account: { mail: 'cleo@example.org' },
    keys: [{ name: 'rig' }],
    usage: [{ model: 'tiny' }],
    conversations: [],
  })
  expect(read).toHaveProperty(
    'requests',
    expect.arrayContaining([expect.objectContaining({ person: 'Cleo' })]),
  )
  expect(answer.text).not.toMatch(/Bob|cron|\$argon2|token_hash/)
})

describe('an account that is deleted', () => {
  it('takes keys, lenders and its name with it, and leaves the house’s rows without', async () => {
    const { key } = (await make(cleo, 'rig', 'lend')).json() as MadeOwnKey
    const [stored] = await listKeys(served.database)
    await use('Cleo', key.name, stored?.id ?? '')
    await use('Bob', 'cron', 'k2')
    const other = await served.signIn('Cleo', password)
    expect((await cleo.ask('DELETE', '/me')).status).toBe(204)
    expect((await other.ask('GET', '/me')).refusal()).toEqual([401, 'signed_out'])
    expect(await listKeys(served.database)).toEqual([])
    expect((await listPeople(served.database)).map(({ name }) => name)).toEqual(['Ada', 'Bob'])
    for (const table of ['accounts', 'sessions', 'passkeys', 'account_links', 'known_browsers'] as const) {
      const rows = await served.database
        .selectFrom(table)
        .selectAll()
        .where('person_id', '=', 'Cleo')
        .execute()
      expect(rows, table).toEqual([])
    }
    const rows = await served.audit()
    expect(JSON.stringify(rows)).not.toMatch(/Cleo|rig-of/)
    expect(rows.filter(({ service }) => service === 'chat')).toHaveLength(2)
    expect(rows.find(({ path }) => path === '/users/-/rig/v1/chat/completions')).toMatchObject({ key: null })
    const usage = await served.records.reports.usage('2000-01-01')
    expect(usage.map(({ person, requests }) => `${person} ${requests}`).toSorted()).toEqual([' 1', 'Bob 1'])
    await served.join('Cleo', 'another Cleo’s words')
    const next = await served.signIn('Cleo', 'another Cleo’s words')
    expect((await next.ask('GET', '/export')).text).not.toContain('rig')
  })

  it('is gone to the end at the next start where a crash came after its first half', async () => {
    const { conversations, database, records } = served
    await make(cleo, 'rig', 'lend')
    const [key] = await listKeys(database)
    await use('Cleo', 'rig', key?.id ?? '')
    const { id = '' } = (await listPeople(database)).find(({ name }) => name === 'Cleo') ?? {}
    const thread = await conversations.open(id)
    thread.put(words('of Cleo’s'))
    await thread.flush()
    thread.leave()
    // All that was done before the crash.
    await leave(database, id)
    await endDepartures({ database, conversations, forget: records.forget })
    expect((await conversations.list(id)).conversations).toEqual([])
    expect(JSON.stringify(await served.audit())).not.toContain('Cleo')
    const usage = await records.reports.usage('2000-01-01')
    expect(usage.map(({ person, requests }) => `${person} ${requests}`)).toEqual([' 1'])
    // Whoever has the name next keeps what is theirs.
    await served.join('Cleo', password)
    await use('Cleo', 'rig', 'k9')
    await endDepartures({ database, conversations, forget: records.forget })
    expect(JSON.stringify(await served.audit())).toContain('Cleo')
  })

  it('leaves one who has a device of the house a person there', async () => {
    const bob = await served.signIn('Bob', password)
    await make(bob, 'cron', 'chat')
    expect(((await bob.ask('GET', '/me')).json() as Account).devices).toBe(1)
    expect((await bob.ask('DELETE', '/me')).status).toBe(204)
    expect((await listPeople(served.database)).map(({ name }) => name)).toContain('Bob')
    expect(await listKeys(served.database)).toEqual([])
    expect((await bob.ask('POST', '/session', { who: 'Bob', password })).status).toBe(403)
  })
})
