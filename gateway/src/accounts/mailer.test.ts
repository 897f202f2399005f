/** Mail through a real SMTP server. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeAuthority, loadAuthority } from '@sotto/certs/authority.ts'
import { ensureLeaf } from '@sotto/certs/leaf.ts'
import { openDatabase, type Database } from '@sotto/provisioning/database.ts'
import { readAccountLink } from '@sotto/provisioning/registry/account-link.ts'
import { listMails, queueMail } from '@sotto/provisioning/registry/mail.ts'
import { ensurePerson } from '@sotto/provisioning/registry/person.ts'
import { pino } from 'pino'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMailer, type MailConfig, type Mailer } from './mailer.ts'

let folder: string
let database: Database
const closers: (() => unknown)[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sotto-mail-'))
  database = await openDatabase(join(folder, 'sotto.db'))
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  await database.destroy()
  await rm(folder, { recursive: true })
})

interface Letters {
  readonly port: number
  readonly ca: string
  /** As they came, the lines joined again. */
  readonly read: string[]
}

async function serve(options: SMTPServerOptions = {}): Promise<Letters> {
  const certs = join(folder, 'certs')
  await makeAuthority(certs, { name: 'Mail', permitted: { dns: ['localhost'], ip: ['127.0.0.1/32'] } })
  const authority = await loadAuthority(certs)
  const { cert, key } = await ensureLeaf(authority, certs, { names: ['localhost', '127.0.0.1'] })
  const read: string[] = []
  const server = new SMTPServer({
    cert,
    key,
    authOptional: true,
    onData(stream, _session, callback) {
      let letter = ''
      stream.setEncoding('utf8')
      stream.on('data', (chunk: string) => (letter += chunk))
      stream.once('end', () => {
        read.push(letter.replaceAll('=\r\n', '').replaceAll('=3D', '='))
        callback()
      })
    },
    ...options,
  })
  server.on('error', () => {})
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  closers.push(() => new Promise<void>((settle) => server.close(settle)))
  const { port } = server.server.address() as AddressInfo
  return { port, ca: authority.rootCertificate, read }
}

function open(config: Partial<MailConfig> & Pick<MailConfig, 'url'>): Mailer {
  const mailer = createMailer({
    database,
    config: { from: 'Sotto <sotto@example.org>', password: undefined, ca: undefined, ...config },
    log: pino({ level: 'silent' }),
    retryMs: 20,
  })
  closers.push(() => mailer.close())
  return mailer
}

async function queue(language: 'en' | 'de' = 'en'): Promise<void> {
  const { id: personId } = await ensurePerson(database, 'Cleo')
  await queueMail(database, {
    kind: 'invitation',
    recipient: 'cleo@example.org',
    personId,
    origin: 'https://gateway.test:8443',
    language,
  })
}

const state = async () => (await listMails(database)).map(({ sentAt, tries }) => [sentAt !== null, tries])
const linkIn = (letter: string) =>
  /https:\/\/gateway\.test:8443\/account#link=([\w-]{43})/.exec(letter)?.[1] ?? ''
const soon = { timeout: 10_000 }

describe('mail', () => {
  it('goes out encrypted and signed in, with a link that is good', async () => {
    const signedIn: (string | undefined)[] = []
    const letters = await serve({
      authOptional: false,
      onAuth({ username, password }, session, callback) {
        signedIn.push(`${username} ${password} ${session.secure}`)
        callback(null, { user: username })
      },
    })
    await queue()
    open({ url: `smtp://ada@localhost:${letters.port}`, password: 'a secret', ca: letters.ca }).look()
    await expect.poll(() => letters.read.length, soon).toBe(1)
    expect(signedIn).toEqual(['ada a secret true'])
    const [letter = ''] = letters.read
    expect(letter).toContain('To: cleo@example.org')
    expect(letter).toContain('Auto-Submitted: auto-generated')
    expect(letter).toContain('Hello Cleo,')
    expect(await readAccountLink(database, linkIn(letter))).toMatchObject({
      kind: 'invitation',
      person: 'Cleo',
      mail: 'cleo@example.org',
    })
    await expect.poll(state, soon).toEqual([[true, 1]])
    // Nothing on disk has the link.
    const disk = await readFile(join(folder, 'sotto.db-wal'), 'latin1')
    expect(disk).not.toContain(linkIn(letter))
  })

  it('is tried again until its server takes it, a restart between', async () => {
    let refusals = 2
    const letters = await serve({
      onRcptTo(_address, _session, callback) {
        refusals -= 1
        callback(refusals >= 0 ? Object.assign(new Error('come later'), { responseCode: 451 }) : null)
      },
    })
    const url = `smtp://localhost:${letters.port}`
    await queue('de')
    const first = open({ url, ca: letters.ca })
    first.look()
    await expect.poll(async () => (await listMails(database))[0]?.error, soon).toContain('come later')
    await first.close()
    open({ url, ca: letters.ca }).look()
    await expect.poll(() => letters.read.length, soon).toBe(1)
    await expect.poll(state, soon).toEqual([[true, 3]])
    expect(letters.read[0]).toContain('Hallo Cleo,')
  })

  it('that is refused for good is not tried again, and the admin sees why', async () => {
    const letters = await serve({
      onRcptTo: (_address, _session, callback) =>
        callback(Object.assign(new Error('no such user'), { responseCode: 550 })),
    })
    await queue()
    open({ url: `smtp://localhost:${letters.port}`, ca: letters.ca }).look()
    await expect.poll(state, soon).toEqual([[false, 1]])
    const [mail] = await listMails(database)
    expect(mail).toMatchObject({ nextAt: null, error: expect.stringContaining('no such user') })
  })

  it('does not go to a server whose certificate it can’t check', async () => {
    const letters = await serve()
    await queue()
    open({ url: `smtp://localhost:${letters.port}` }).look()
    await expect.poll(async () => (await listMails(database))[0]?.error, soon).toMatch(/certificate/i)
    expect(letters.read).toEqual([])
  })
})
