/** Accounts through their public functions, on a real database. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase, type Database } from '#database.ts'
import { checkMail, findAccount, findSignIn, setPassword } from './account.ts'
import { makeAccountLink, readAccountLink, useAccountLink } from './account-link.ts'
import { listDepartures } from './departure.ts'
import { addKey, listKeys } from './key.ts'
import { dueMails, listMails, nextMailAt, noteMail, queueMail } from './mail.ts'
import { someNetwork } from './network.fixture.ts'
import { insertNetwork, readRevision } from './network.ts'
import { addPasskey, listPasskeys, removePasskey } from './passkey.ts'
import {
  addPerson,
  ensurePerson,
  firstPerson,
  leave,
  listPeople,
  removePerson,
  type Person,
} from './person.ts'
import { verifySecret } from './secret.ts'
import { isKnownBrowser, knowBrowser, listSessions, openSession, readSession } from './session.ts'

const password = 'four words are enough'
const passkey = {
  id: 'credential',
  publicKey: 'AAAA',
  counter: 0,
  transports: ['internal'],
  rpId: 'sotto.internal',
  name: 'Firefox',
}
let directory: string
let database: Database
let cleo: Person

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-accounts-'))
  database = await openDatabase(join(directory, 'sotto.db'))
  await insertNetwork(database, someNetwork())
  await ensurePerson(database, 'Ada')
  cleo = await addPerson(database, 'Cleo')
})
afterEach(async () => {
  await database.destroy()
  await rm(directory, { recursive: true })
})

async function invited(mail?: string): Promise<void> {
  const { token } = await makeAccountLink(database, { kind: 'invitation', personId: cleo.id, mail })
  await useAccountLink(database, token, { password })
}
const open = (now?: Date) =>
  openSession(database, { personId: cleo.id, address: '192.0.2.7', agent: 'Firefox' }, now)

describe('an account', () => {
  it.each(['ada@example.org', ' Ada@Example.ORG'])('has a mail address such as %j, in lower case', (text) => {
    expect(checkMail(text)).toBe('ada@example.org')
  })
  it.each([
    '',
    'ada',
    'ada@',
    'a@b',
    'ada@example.org\r\nBcc: x@example.org',
    'ada@example.org, b@example.org',
  ])('has none such as %j', (text) => {
    expect(() => checkMail(text)).toThrow('no mail address')
  })

  it('is found by an address only once that was shown to be theirs', async () => {
    await invited('cleo@example.org')
    const found = await findSignIn(database, 'CLEO@example.org')
    expect(found?.personId).toBe(cleo.id)
    expect(await verifySecret(found?.passwordHash ?? '', password)).toBe(true)
    expect(await findAccount(database, cleo.id)).toMatchObject({
      mail: 'cleo@example.org',
      hasPassword: true,
    })
    const ada = await firstPerson(database)
    const { token } = await makeAccountLink(database, {
      kind: 'invitation',
      personId: ada.id,
      mail: 'cleo@example.org',
    })
    await expect(useAccountLink(database, token, { password })).rejects.toMatchObject({ code: 'mail_exists' })
    // And nothing of the attempt is left.
    expect(await findAccount(database, ada.id)).toBeUndefined()
    expect(await readAccountLink(database, token)).toMatchObject({ kind: 'invitation' })
  })

  it('ends its sessions and the links that wait with another password, but for where it was set', async () => {
    await invited()
    const [here, there] = [await open(), await open()]
    const { token } = await makeAccountLink(database, { kind: 'reset', personId: cleo.id })
    await setPassword(database, cleo.id, 'four other words by now', here.id)
    expect(await readSession(database, here.token)).toMatchObject({ person: 'Cleo' })
    expect(await readSession(database, there.token)).toBeUndefined()
    await expect(readAccountLink(database, token)).rejects.toMatchObject({ code: 'account_link_missing' })
  })

  it('keeps a way in', async () => {
    const { token } = await makeAccountLink(database, { kind: 'invitation', personId: cleo.id })
    await useAccountLink(database, token, { passkey })
    await expect(removePasskey(database, cleo.id, passkey.id)).rejects.toMatchObject({
      code: 'passkey_in_use',
    })
    await addPasskey(database, cleo.id, { ...passkey, id: 'another' })
    await removePasskey(database, cleo.id, passkey.id)
    expect((await listPasskeys(database, cleo.id)).map(({ id }) => id)).toEqual(['another'])
    const ada = await firstPerson(database)
    await expect(removePasskey(database, ada.id, 'another')).rejects.toMatchObject({
      code: 'passkey_missing',
    })
    await expect(addPasskey(database, ada.id, { ...passkey, id: 'another' })).rejects.toMatchObject({
      code: 'passkey_exists',
    })
  })

  it('goes with its person, whoever ends it', async () => {
    await invited('cleo@example.org')
    const { token } = await open()
    await removePerson(database, 'Cleo')
    expect(await readSession(database, token)).toBeUndefined()
    expect(await findSignIn(database, 'cleo@example.org')).toBeUndefined()
    cleo = await addPerson(database, 'Cleo')
    await invited('cleo@example.org')
    await addKey(database, { name: 'rig', person: cleo })
    const before = await readRevision(database)
    await leave(database, cleo.id)
    expect(await listDepartures(database)).toMatchObject([
      { personId: cleo.id, person: cleo.name, gone: true, keys: [expect.any(String)] },
    ])
    expect(await readRevision(database)).toBeGreaterThan(before)
    expect(await listKeys(database)).toEqual([])
    expect((await listPeople(database)).map(({ name }) => name)).toEqual(['Ada'])
  })

  it('of the admin can end; the admin stays', async () => {
    const ada = await firstPerson(database)
    await leave(database, ada.id)
    expect(await listDepartures(database)).toMatchObject([{ personId: ada.id, gone: false }])
    expect((await firstPerson(database)).id).toBe(ada.id)
  })
})

describe('a browser', () => {
  it('is one of twenty of a person, and known to nobody else', async () => {
    await invited()
    const start = Date.now()
    const first = await open(new Date(start))
    for (let count = 1; count <= 20; count += 1) await open(new Date(start + count))
    expect(await listSessions(database, cleo.id)).toHaveLength(20)
    expect(await readSession(database, first.token)).toBeUndefined()
    const token = await knowBrowser(database, cleo.id)
    const ada = await firstPerson(database)
    expect(await isKnownBrowser(database, cleo.id, token)).toBe(true)
    expect(await isKnownBrowser(database, ada.id, token)).toBe(false)
    const later = new Date(Date.now() + 181 * 86_400_000)
    expect(await isKnownBrowser(database, cleo.id, token, later)).toBe(false)
  })
})

describe('mail', () => {
  const mail = { kind: 'reset', recipient: 'cleo@example.org', origin: 'https://x', language: 'en' } as const

  it('waits until it was sent, and is told of for a month', async () => {
    const start = new Date()
    await queueMail(database, { ...mail, personId: cleo.id }, start)
    const [due] = await dueMails(database)
    const next = new Date(Date.now() + 60_000)
    await noteMail(database, due?.id ?? '', { error: 'x'.repeat(900), next })
    expect(await dueMails(database)).toEqual([])
    expect(await nextMailAt(database)).toEqual(next)
    await noteMail(database, due?.id ?? '', { sentAt: new Date() })
    expect(await nextMailAt(database)).toBeUndefined()
    expect(await listMails(database)).toMatchObject([{ person: 'Cleo', tries: 2, error: null }])
    await queueMail(
      database,
      { ...mail, recipient: 'b@example.org' },
      new Date(start.getTime() + 31 * 86_400_000),
    )
    expect((await listMails(database)).map(({ recipient }) => recipient)).toEqual(['b@example.org'])
  })

  it('fills neither a letter box nor the queue', async () => {
    const queued = []
    for (let count = 0; count < 4; count += 1) queued.push(await queueMail(database, mail))
    expect(queued).toEqual([true, true, true, false])
    expect(await queueMail(database, { ...mail, kind: 'invitation' })).toBe(true)
    const hour = new Date(Date.now() + 3_600_001)
    expect(await queueMail(database, mail, hour)).toBe(true)
  })
})
