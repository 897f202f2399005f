import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { makeAuthority } from '@sotto/certs/authority.ts'
import { seal } from '@sotto/certs/passphrase.ts'
import { pack } from 'tar-stream'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { backUp, restore } from './backup.ts'
import { openDatabase } from './database.ts'
import { enrol } from './enrolment/enrol.ts'
import { ensureNetwork } from './network.ts'
import { listDevices } from './registry/device.ts'
import { firstPerson } from './registry/person.ts'
import { lockState, makeState } from './state.ts'

const passphrase = 'four or five words'
let directory: string
const at = (...path: string[]) => join(directory, ...path)

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-backup-'))
})
afterEach(() => rm(directory, { recursive: true }))

/** A state with a device, and its database open as a gateway has it. */
async function home() {
  const state = await makeState(at('state'))
  const database = await openDatabase(state.database)
  const { network } = await ensureNetwork(state, database, { endpoint: '192.0.2.1' })
  await makeAuthority(state.certs, {
    name: 'Sotto CA',
    permitted: { dns: ['sotto.internal'], ip: [network.range4, network.range6] },
  })
  await enrol(database, network, { name: 'phone', person: await firstPerson(database) })
  return { state, database }
}

// Each opening costs scrypt's second.
describe('a backup', { timeout: 60_000 }, () => {
  it('made while a gateway serves is the same network elsewhere', async () => {
    const { state, database } = await home()
    const unlock = lockState(state)
    await writeFile(state.log, 'a log')
    await writeFile(join(state.directory, 'config.yaml'), 'auditDays: 30\n')
    const ledger = new DatabaseSync(state.ledger)
    ledger.exec(
      "PRAGMA journal_mode = WAL; CREATE TABLE audit (path); INSERT INTO audit VALUES ('/api/chat')",
    )
    const conversations = new DatabaseSync(state.conversations)
    conversations.exec(
      "PRAGMA journal_mode = WAL; CREATE TABLE items (text); INSERT INTO items VALUES ('hello')",
    )
    const summary = await backUp(state, at('backup.age'), passphrase)
    expect((await stat(at('backup.age'))).mode & 0o777).toBe(0o600)
    expect(summary.members).toBe(10)
    expect(await readdir(state.directory)).not.toContainEqual(expect.stringContaining('backup-'))
    const restored = await restore(at('new', 'state'), at('backup.age'), passphrase)
    expect((await stat(restored.directory)).mode & 0o777).toBe(0o700)
    for (const file of ['hub.key', 'sotto.json', 'config.yaml', 'certs/root.key', 'certs/intermediate.crt'])
      expect(await readFile(join(restored.directory, file), 'utf8'), file).toBe(
        await readFile(join(state.directory, file), 'utf8'),
      )
    const other = await openDatabase(restored.database)
    expect(await listDevices(other)).toEqual(await listDevices(database))
    expect(
      (await readdir(restored.directory)).filter((name) => !name.startsWith('sotto.db')).toSorted(),
    ).toEqual(['certs', 'config.yaml', 'conversations.db', 'hub.key', 'ledger.db', 'sotto.json'])
    const written = new DatabaseSync(restored.ledger)
    expect(written.prepare('SELECT path FROM audit').all()).toEqual([{ path: '/api/chat' }])
    const said = new DatabaseSync(restored.conversations)
    expect(said.prepare('SELECT text FROM items').all()).toEqual([{ text: 'hello' }])
    for (const one of [ledger, written, conversations, said]) one.close()
    await other.destroy()
    await database.destroy()
    unlock()
  })

  it('shows nothing of what it holds', async () => {
    const { state, database } = await home()
    await database.destroy()
    await backUp(state, at('backup.age'), passphrase)
    const sealed = await readFile(at('backup.age'), 'latin1')
    expect(sealed).toMatch(/^age-encryption\.org\/v1\n-> scrypt \S+ 1[89]\n/)
    for (const secret of [
      (await readFile(state.hubKey, 'utf8')).trim(),
      'BEGIN PRIVATE KEY',
      'SQLite format',
    ])
      expect(sealed).not.toContain(secret)
  })

  it('never replaces a file or a state', async () => {
    const { state, database } = await home()
    await database.destroy()
    await writeFile(at('mine'), 'mine')
    await expect(backUp(state, at('mine'), passphrase)).rejects.toMatchObject({ code: 'file' })
    expect(await readFile(at('mine'), 'utf8')).toBe('mine')
    await backUp(state, at('backup.age'), passphrase)
    await expect(restore(state.directory, at('backup.age'), passphrase)).rejects.toMatchObject({
      code: 'state_taken',
    })
  })

  it('is refused whole where it is damaged, another’s or not ours, and leaves nothing', async () => {
    const { state, database } = await home()
    await database.destroy()
    await backUp(state, at('backup.age'), passphrase)
    const whole = await readFile(at('backup.age'))
    const archive = async (entries: Record<string, string>) => {
      const tar = pack()
      for (const [name, content] of Object.entries(entries)) tar.entry({ name }, content)
      tar.finalize()
      return seal(await buffer(tar), passphrase)
    }
    const flipped = Buffer.from(whole)
    flipped[flipped.length - 100] = (flipped[flipped.length - 100] ?? 0) ^ 1
    for (const [what, content, words, code] of [
      ['wrong passphrase', whole, 'other words', 'wrong_passphrase'],
      ['cut', whole.subarray(0, whole.length / 2), passphrase, 'wrong_passphrase'],
      ['flipped', flipped, passphrase, 'wrong_passphrase'],
      ['no backup', Buffer.from('hello'), passphrase, 'no_backup'],
      ['climbing', await archive({ '../../etc/passwd': 'x' }), passphrase, 'backup_damaged'],
      ['unknown', await archive({ 'sotto.json': '{}', 'run.sh': 'x' }), passphrase, 'backup_damaged'],
      ['partial', await archive({ 'sotto.json': '{}' }), passphrase, 'backup_damaged'],
      [
        'newer',
        await archive({
          'sotto.json': '{"sotto":2}',
          'hub.key': 'k',
          'sotto.db': 'x',
          'certs/root.crt': 'c',
        }),
        passphrase,
        'state_damaged',
      ],
    ] as const) {
      await writeFile(at('other.age'), content)
      await expect(restore(at('new'), at('other.age'), words), what).rejects.toMatchObject({ code })
      expect((await readdir(directory)).toSorted(), what).toEqual(['backup.age', 'other.age', 'state'])
    }
  })

  it('opens with age itself, where it is installed', async ({ skip }) => {
    try {
      execFileSync('age', ['--version'])
    } catch {
      skip('age is not installed')
    }
    const { state, database } = await home()
    await database.destroy()
    await backUp(state, at('backup.age'), passphrase)
    // age asks at a terminal alone: script makes one.
    const opened = execFileSync(
      'script',
      ['-qec', `age -d -o ${at('out.tar')} ${at('backup.age')}`, '/dev/null'],
      { input: `${passphrase}\n` },
    )
    expect(opened.toString()).not.toContain('error')
    expect(execFileSync('tar', ['tf', at('out.tar')]).toString()).toContain('hub.key')
  })
})
