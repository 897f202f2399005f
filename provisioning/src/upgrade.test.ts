import { copyFile, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, sql, SqliteDialect } from 'kysely'
import { Migrator } from 'kysely/migration'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import packageJson from '../package.json' with { type: 'json' }
import { connect, migrations, openDatabase } from './database.ts'
import { enrol } from './enrolment/enrol.ts'
import { readAccess } from './registry/access.ts'
import { requireNetwork } from './registry/network.ts'
import { listPeople } from './registry/person.ts'
import { readRegistry } from './registry/registry.ts'
import { viewDevices } from './registry/view.ts'

const names = Object.keys(migrations)
const { version } = packageJson

/** What there was to write once a migration had run, in the words of that time; what is not named had none. */
const rows: Readonly<Record<string, string>> = {
  '0001-network': `INSERT INTO network (id, interface, range4, range6, listen_port, endpoint, public_key, revision, followed, created_at)
    VALUES (1, 'sotto0', '10.77.0.0/24', 'fd00:77::/64', 51820, 'home.example.org:51820', 'hub', 1, 1, '2026-01-01')`,
  '0002-people': `INSERT INTO people (id, name, created_at) VALUES ('p1', 'ada', '2026-01-01'), ('p2', 'bob', '2026-01-02')`,
  '0003-devices': `INSERT INTO devices (id, person_id, name, public_key, preshared_key, number, address4, address6, keepalive, created_at)
    VALUES ('d1', 'p1', 'phone', 'k1', 's1', 2, '10.77.0.2', 'fd00:77::2', 25, '2026-01-01T00:00:00.000Z')`,
  '0004-links': `INSERT INTO links (id, name, person_id, token_hash, public_key, preshared_key, number, address4, address6, created_at, expires_at)
    VALUES ('l1', 'nas', 'p2', 'h1', 'k2', 's2', 3, '10.77.0.3', 'fd00:77::3', '2026-01-01T00:00:00.000Z', '2999-01-01T00:00:00.000Z')`,
  '0005-rules': `INSERT INTO rules (action, from_kind, from_id, to_kind, created_at) VALUES ('deny', 'person', 'p2', 'gateway', '2026-01-01')`,
  '0006-traffic': `INSERT INTO traffic (device_id, received, sent, last_received, last_sent) VALUES ('d1', 1000, 2000, 10, 20)`,
  '0009-keys': `INSERT INTO keys (id, person_id, name, created_at) VALUES ('y1', 'p1', 'script', '2026-01-01T00:00:00.000Z')`,
}

let folder: string
let file: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sotto-upgrade-'))
  file = join(folder, 'sotto.db')
})
afterEach(() => rm(folder, { recursive: true }))

/** The database as a version had it whose last migration was that one. */
async function makeAsOf(last: string): Promise<void> {
  const database = new Kysely<unknown>({ dialect: new SqliteDialect({ database: () => connect(file) }) })
  const migrator = new Migrator({ db: database, provider: { getMigrations: async () => migrations } })
  // What is lost with the power is no loss here.
  await sql`PRAGMA synchronous = OFF`.execute(database)
  const until = ranUntil(last)
  for (const name of until.filter((one) => one === last || rows[one] !== undefined)) {
    const { error } = await migrator.migrateTo(name)
    if (error) throw error
    if (rows[name] !== undefined) await sql.raw(rows[name]).execute(database)
  }
  await database.destroy()
}

const had = (last: string, name: string): boolean => names.indexOf(name) <= names.indexOf(last)
/** In the order in which they ran. */
function ranIn(of: string): unknown[] {
  const database = new DatabaseSync(of)
  const ran = database.prepare('SELECT name FROM kysely_migration ORDER BY name').all()
  database.close()
  return ran.map(({ name }) => name)
}
const ranUntil = (last: string): string[] => names.slice(0, names.indexOf(last) + 1)
const copies = async () => (await readdir(folder)).filter((name) => name.includes('.before-')).toSorted()

describe('the registry of an earlier version', () => {
  it.each(names)('as of %s is brought up to date, with all that was in it', async (last) => {
    await makeAsOf(last)
    const database = await openDatabase(file)
    try {
      const network = await requireNetwork(database)
      expect(network).toMatchObject({
        interface: 'sotto0',
        endpoint: 'home.example.org:51820',
        publicKey: 'hub',
      })
      const people = await listPeople(database)
      if (had(last, '0002-people')) expect(people.map(({ name }) => name)).toEqual(['ada', 'bob'])
      const devices = await viewDevices(database)
      if (had(last, '0003-devices')) expect(devices).toMatchObject([{ name: 'phone', person: 'ada' }])
      if (had(last, '0006-traffic'))
        expect(devices).toMatchObject([{ receivedBytes: 1_000, sentBytes: 2_000 }])
      const registry = await readRegistry(database)
      if (had(last, '0004-links')) expect(registry.links).toMatchObject([{ name: 'nas' }])
      if (had(last, '0005-rules')) expect(registry.rules).toMatchObject([{ action: 'deny' }])
      const keys = await database.selectFrom('keys').select('name').execute()
      if (had(last, '0009-keys')) expect(keys).toEqual([{ name: 'script' }])
      await readAccess(database)
      const person = people[0] ?? { id: 'p9', name: 'ada' }
      if (people.length === 0) await sql`INSERT INTO people (id, name) VALUES ('p9', 'ada')`.execute(database)
      expect((await enrol(database, network, { name: 'laptop', person })).device.name).toBe('laptop')
    } finally {
      await database.destroy()
    }
    // The last is today's: nothing changed, and nothing is kept.
    expect(await copies()).toEqual(last === names.at(-1) ? [] : [`sotto.db.before-${version}`])
    for (const copy of await copies()) expect(ranIn(join(folder, copy))).toEqual(ranUntil(last))
  })

  it.each(names.slice(0, -1))(
    'as of %s is put back by its copy, and brought up to date again',
    async (last) => {
      await makeAsOf(last)
      const before = ranIn(file)
      await (await openDatabase(file)).destroy()
      const [copy = ''] = await copies()
      await copyFile(join(folder, copy), file)
      expect(ranIn(file)).toEqual(before)
      const database = await openDatabase(file)
      expect(await requireNetwork(database)).toMatchObject({ interface: 'sotto0' })
      await database.destroy()
    },
  )
})

describe('an upgrade', () => {
  it('keeps what was before, for its owner alone, and is taken back by it', async () => {
    await makeAsOf('0005-rules')
    await (await openDatabase(file)).destroy()
    const copy = join(folder, `sotto.db.before-${version}`)
    expect((await stat(copy)).mode & 0o777).toBe(0o600)
    const before = new DatabaseSync(copy, { readOnly: true })
    expect(before.prepare('SELECT count(*) AS n FROM kysely_migration').get()).toEqual({ n: 5 })
    expect(before.prepare('SELECT name FROM devices').all()).toEqual([{ name: 'phone' }])
    before.close()
  })

  it('keeps the last three copies', async () => {
    for (let number = 0; number < 5; number += 1) {
      await rm(file, { force: true })
      await makeAsOf('0001-network')
      await (await openDatabase(file)).destroy()
    }
    expect(await copies()).toHaveLength(3)
  })

  it('changes all or nothing: what fails in the middle leaves the database as it was', async () => {
    await makeAsOf('0005-rules')
    // In the way of a later migration.
    const database = new DatabaseSync(file)
    database.exec('CREATE TABLE keys (id TEXT)')
    database.close()
    await expect(openDatabase(file)).rejects.toMatchObject({ code: 'database_unusable' })
    const after = new DatabaseSync(file)
    expect(after.prepare('SELECT count(*) AS n FROM kysely_migration').get()).toEqual({ n: 5 })
    expect(after.prepare("SELECT name FROM sqlite_master WHERE name = 'traffic'").all()).toEqual([])
    after.exec('DROP TABLE keys')
    after.close()
    await (await openDatabase(file)).destroy()
  })
})

describe('a database of a newer version', () => {
  const makeNewer = async (userVersion: number) => {
    await makeAsOf(names.at(-1) ?? '')
    const database = new DatabaseSync(file)
    database.exec(
      `INSERT INTO kysely_migration VALUES ('9999-tomorrow', '2030-01-01'); PRAGMA user_version = ${userVersion}`,
    )
    database.close()
  }

  it('is not opened: which version it takes is said, and how to go back', async () => {
    await makeAsOf('0005-rules')
    await (await openDatabase(file)).destroy()
    const database = new DatabaseSync(file)
    database.exec(
      `INSERT INTO kysely_migration VALUES ('9999-tomorrow', '2030-01-01'); PRAGMA user_version = 2003001`,
    )
    database.close()
    const error: unknown = await openDatabase(file).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'database_newer',
      message: `${file} was brought up to date by Sotto 2.3.1, and this is ${version}: it does not know “9999-tomorrow”.`,
      remedy: expect.stringMatching(/^Use Sotto 2\.3\.1 or later\. .* && cp -p \S+\.before-\S+ \S+$/),
    })
    // As it says.
    const remedy = String(error instanceof Error && 'remedy' in error && error.remedy)
    const [copy = ''] = await copies()
    expect(remedy).toContain(join(folder, copy))
    await rm(`${file}-wal`, { force: true })
    await rm(`${file}-shm`, { force: true })
    await copyFile(join(folder, copy), file)
    const back = await openDatabase(file)
    expect(await viewDevices(back)).toMatchObject([{ name: 'phone' }])
    await back.destroy()
  })

  it('of before versions were noted, too', async () => {
    await makeNewer(0)
    await expect(openDatabase(file)).rejects.toMatchObject({
      code: 'database_newer',
      remedy: `Use Sotto later than ${version}. To stay with ${version}, restore a backup from its time.`,
    })
    expect(await copies()).toEqual([])
  })
})
