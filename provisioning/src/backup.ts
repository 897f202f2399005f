/**
 * The whole state in one file, sealed under a passphrase: a tar of the state directory in age's format, so that
 * `age -d FILE | tar x` opens it too. What is restored is the same network: same keys, addresses and CA.
 */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import { seal, unseal } from '@sotto/certs/passphrase.ts'
import { extract, pack } from 'tar-stream'
import { openDatabase } from './database.ts'
import { openNetworkKey } from './network.ts'
import { readSetting } from './postgres/setting.ts'
import { Problem } from './problem.ts'
import { requireNetwork } from './registry/network.ts'
import { openState, statePaths, type State } from './state.ts'
import { copyDatabase } from './upgrade.ts'

/** Members of a backup, of which certs may hold more; the rest of a state directory is of one run alone. */
const ownFiles = ['sotto.json', 'hub.key']
const databases = ['sotto.db', 'ledger.db', 'conversations.db', 'rooms.db', 'federation.db']
const configFile = 'config.yaml'
const member =
  /^(?:sotto\.json|hub\.key|(?:sotto|ledger|conversations|rooms|federation)\.db|config\.yaml|certs\/(?:[\w.-]+\/)?[\w.-]+)$/
/** No state of ours is near it; what is larger is no backup. */
const largestBytes = 1_000_000_000

export interface BackupSummary {
  readonly file: string
  readonly bytes: number
  readonly members: number
}

/** Writes a new 0600 file; a gateway may go on serving. Throws a `Problem` where the file exists. */
export async function backUp(state: State, file: string, passphrase: string): Promise<BackupSummary> {
  await checkBackup(state, file)
  const folder = await mkdtemp(join(state.directory, 'backup-'))
  try {
    const members = new Map<string, Buffer>()
    for (const name of ownFiles) members.set(name, await readFile(join(state.directory, name)))
    if (existsSync(join(state.directory, configFile)))
      members.set(configFile, await readFile(join(state.directory, configFile)))
    for (const name of databases)
      // One that never served has but the first.
      if (existsSync(join(state.directory, name))) {
        copyDatabase(join(state.directory, name), join(folder, name))
        members.set(name, await readFile(join(folder, name)))
      }
    for (const name of await filesIn(state.certs))
      members.set(`certs/${name}`, await readFile(join(state.certs, name)))
    const tar = pack()
    for (const [name, content] of members) tar.entry({ name, mode: 0o600 }, content)
    tar.finalize()
    const sealed = await seal(await buffer(tar), passphrase)
    await writeNew(file, sealed)
    return { file, bytes: sealed.length, members: members.size }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Before anybody is asked for a passphrase. Throws a `Problem`. */
export async function checkBackup(state: State, file: string): Promise<void> {
  if (existsSync(file)) throw new Problem('file', `${file} exists already.`, 'Name another file.')
  const setting = await readSetting(state.directory)
  if (setting)
    throw new Problem(
      'backup_postgres',
      `PostgreSQL at ${setting.where} holds the state, and what is not in its dump is no backup.`,
      `Take a dump of it (pg_dump --format custom), and a copy of ${state.directory}: keys and certificates are there.`,
    )
}

/**
 * Puts a backup in place as a state directory that is new or empty. All of it is opened and checked first: where
 * that fails, nothing has changed. Throws a `Problem`, or an `AuthorityError` for a wrong passphrase.
 */
export async function restore(directory: string, file: string, passphrase: string): Promise<State> {
  const target = resolve(directory)
  if ((await readdir(target).catch(() => [])).length > 0)
    throw new Problem(
      'state_taken',
      `${target} is not empty.`,
      'Name a new or empty directory with --state DIR.',
    )
  const sealed = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new Problem('file', `${file} can't be read (${error.code}).`, 'Name the backup.', error)
  })
  if (!sealed.subarray(0, 21).toString().startsWith('age-encryption.org/v1'))
    throw new Problem(
      'no_backup',
      `${file} is no backup of Sotto.`,
      'Name a file that `./sotto backup` wrote.',
    )
  const members = await read(await unseal(sealed, passphrase), file)
  await mkdir(dirname(target), { recursive: true })
  const staging = await mkdtemp(join(dirname(target), `.${basename(target)}-`))
  try {
    for (const [name, content] of members) {
      await mkdir(dirname(join(staging, name)), { recursive: true, mode: 0o700 })
      await writeFile(join(staging, name), content, { mode: 0o600, flag: 'wx' })
    }
    await check(openState(staging))
    // Onto an empty directory or none: a rename puts all of it in place, or nothing.
    await rename(staging, target)
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
  return statePaths(target)
}

async function filesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .filter((name) => member.test(`certs/${name}`))
}

async function writeNew(file: string, content: Uint8Array): Promise<void> {
  const handle = await open(file, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw new Problem('file', `${file} can't be made (${error.code}).`, 'Name another file.', error)
  })
  try {
    await handle.writeFile(content)
    await handle.sync()
  } catch (error) {
    await rm(file, { force: true })
    throw new Problem(
      'file',
      `${file} could not be written.`,
      'Free some space, or name another place.',
      error,
    )
  } finally {
    await handle.close()
  }
}

async function read(tar: Uint8Array, file: string): Promise<Map<string, Buffer>> {
  const damaged = (why: string, cause?: unknown) =>
    new Problem('backup_damaged', `${file} is not what Sotto writes: ${why}.`, 'Take another backup.', cause)
  const members = new Map<string, Buffer>()
  try {
    const entries = Readable.from([Buffer.from(tar)]).pipe(extract())
    for await (const entry of entries) {
      const { name, type, size } = entry.header
      if (type !== 'file' || !member.test(name) || size > largestBytes || members.has(name))
        throw damaged(`it holds ${JSON.stringify(name)}`)
      members.set(name, await buffer(entry))
    }
  } catch (error) {
    throw error instanceof Problem ? error : damaged('its archive is broken', error)
  }
  const missing = [...ownFiles, 'sotto.db', 'certs/root.crt'].filter((name) => !members.has(name))
  if (missing.length > 0) throw damaged(`${missing.join(', ')} missing`)
  return members
}

/** That it opens, and that its key is its network's. */
async function check(state: State): Promise<void> {
  const database = await openDatabase(state.database)
  try {
    openNetworkKey(state, await requireNetwork(database))
  } finally {
    await database.destroy()
  }
}
