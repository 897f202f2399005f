/** How the admin lets people in who have no device, and what became of the mail. */
import { readAccountLink } from '@sotto/provisioning/registry/account-link.ts'
import { listMails, noteMail } from '@sotto/provisioning/registry/mail.ts'
import { afterEach, expect, it } from 'vitest'
import type { Invitation, MailList } from '#protocol/account.ts'
import type { Refusal } from '#protocol/devices.ts'
import { serveAdmin, type Asked, type ServedAdmin } from './admin.fixture.ts'

let admin: ServedAdmin
afterEach(() => admin.close())

const invite = (body?: object, name = 'Bob') => admin.change('POST', `people/${name}/invitation`, body)
const refusal = (answer: Asked) => [answer.status, (answer.json() as Refusal).error.code]

it('shows a link that is of this person, where people reach the gateway', async () => {
  admin = await serveAdmin()
  const answer = (await invite()).json() as Invitation
  const url = 'url' in answer ? answer.url : ''
  const [place, token = ''] = url.split('#link=')
  expect(place).toBe(`${admin.origin}/account`)
  expect(await readAccountLink(admin.database, token)).toMatchObject({ kind: 'invitation', person: 'Bob' })
  expect(refusal(await invite(undefined, 'Nobody'))).toEqual([404, 'person_missing'])
  // The audit says that Bob was invited, and has no link.
  const rows = await admin.audit()
  expect(rows.map(({ path }) => path)).toContain('/sotto/admin/people/Bob/invitation')
  expect(JSON.stringify(rows)).not.toContain(token)
})

it('mails none where nobody said how', async () => {
  admin = await serveAdmin()
  expect(refusal(await invite({ mail: 'bob@example.org' }))).toEqual([503, 'no_mail'])
  expect(await listMails(admin.database)).toEqual([])
})

it('puts mail into the queue, to where people reach it from outside, and tells its outcome', async () => {
  admin = await serveAdmin({ mail: true, outside: 'https://lend.example.org:8444' })
  expect((await invite({ mail: 'Bob@Example.org', language: 'de' })).json()).toEqual({
    mailed: 'bob@example.org',
  })
  expect(refusal(await invite({ mail: 'no address' }))).toEqual([400, 'mail_address'])
  const [waiting] = await listMails(admin.database)
  expect(waiting).toMatchObject({ origin: 'https://lend.example.org:8444', language: 'de', person: 'Bob' })
  const told = async () => ((await admin.ask('/sotto/admin/mails')).json() as MailList).mails[0]
  expect(await told()).toMatchObject({ state: 'waiting', tries: 0, recipient: 'bob@example.org' })
  await noteMail(admin.database, waiting?.id ?? '', { error: 'no such user', next: null })
  expect(await told()).toMatchObject({ state: 'failed', tries: 1, error: 'no such user' })
  await noteMail(admin.database, waiting?.id ?? '', { sentAt: new Date() })
  expect(await told()).toMatchObject({ state: 'sent', error: null })
  await invite({ mail: 'bob@example.org' })
  await invite({ mail: 'bob@example.org' })
  expect(refusal(await invite({ mail: 'bob@example.org' }))).toEqual([409, 'mail_exhausted'])
})
