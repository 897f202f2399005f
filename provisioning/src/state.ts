/**
 * The state directory: everything that makes this gateway itself. All of it is readable by its owner alone,
 * every file is replaced whole or not at all, and one process at a time serves from it.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createHash, randomUUID } from 'node:crypto'
import { chmod, mkdir, readdir, rm } from 'node:fs/promises'
import { homedir, hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { diskProblemOf, isDiskProblem, requireDisk } from './disk.ts'
import { leaveToOwner, ownerOf } from './owner.ts'
import { Problem } from './problem.ts'

/** Tells our directory from any other, and an old layout from a new one. */
const markerFile = 'sotto.json'
/** Source: machine-id(5) */
const machineFile = '/etc/machine-id'

/** Of `workName`, and the copies of `upgrade.ts`. */
const unfinished = /^(?:(?:backup|sotto-wg)-|.+\.db\.copy-)(\d+)(?:-|$)/
/** A place in memory, where there is one. What lies there for a moment needs no disk that takes it. */
export const memoryDirectory = '/dev/shm'

export interface State {
  readonly directory: string
  readonly database: string
  /** What happened: audit, usage, what was spent. */
  readonly ledger: string
  /** What people and the models said to each other. */
  readonly conversations: string
  /** What people wrote to each other. */
  readonly rooms: string
  /** What is on its way to friends' gateways. */
  readonly federation: string
  /** Certificates and their keys. */
  readonly certs: string
  /** The hub's private key, base64 as `wg` writes it. */
  readonly hubKey: string
  readonly log: string
}

/** `/var/lib/sotto` for root, as the file hierarchy standard has it, else the XDG state directory. */
export function defaultStateDirectory(): string {
  if (process.getuid?.() === 0) return '/var/lib/sotto'
  return join(process.env.XDG_STATE_HOME ?? join(homedir(), '.local', 'state'), 'sotto')
}

/** The paths inside a directory, whether it exists or not. */
export function statePaths(directory: string = defaultStateDirectory()): State {
  const at = resolve(directory)
  return {
    directory: at,
    database: join(at, 'sotto.db'),
    ledger: join(at, 'ledger.db'),
    conversations: join(at, 'conversations.db'),
    rooms: join(at, 'rooms.db'),
    federation: join(at, 'federation.db'),
    certs: join(at, 'certs'),
    hubKey: join(at, 'hub.key'),
    log: join(at, 'gateway.log'),
  }
}

/** Opens the directory, making it where there is none. Throws a `Problem` for one that is not ours. */
export async function makeState(directory?: string): Promise<State> {
  const state = statePaths(directory)
  // What SQLite and others make in here later is private too.
  process.umask(0o077)
  await mkdir(state.directory, { recursive: true, mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    throw new Problem(
      'state_unwritable',
      `Can't make the state directory ${state.directory} (${error.code}).`,
      'Choose another one with --state DIR.',
      error,
    )
  })
  if (existsSync(join(state.directory, markerFile))) {
    const marker = checkMarker(state)
    checkOwner(state)
    await requireDisk(state.directory)
    await chmod(state.directory, 0o700)
    if (marker.id === undefined) await writeMarker(state, { ...marker, id: randomUUID() })
    return state
  }
  // What it is to be may be said before it is made.
  if ((await readdir(state.directory)).some((name) => name !== 'config.yaml'))
    throw new Problem(
      'state_foreign',
      `${state.directory} is not empty and is not a Sotto state directory.`,
      'Choose an empty or new directory with --state DIR.',
    )
  await writeMarker(state, { sotto: 1, createdAt: new Date().toISOString(), id: randomUUID() })
  await chmod(state.directory, 0o700)
  return state
}

/**
 * What tells the gateway of this directory from any other: the same over restarts, and another one for a copy, so
 * that of one house's gateways no two have the same. Throws a `Problem`.
 */
export function gatewayId(state: State): string {
  const { id } = checkMarker(state)
  if (id === undefined) throw damaged(state)
  const machine = existsSync(machineFile) ? readFileSync(machineFile, 'utf8').trim() : ''
  const place = [id, state.directory, hostname(), machine].join('\n')
  return createHash('sha256').update(place).digest('hex').slice(0, 32)
}

/** Opens a directory that `sotto up` made. Throws a `Problem` where there is none. */
export function openState(directory?: string): State {
  const state = statePaths(directory)
  if (!existsSync(join(state.directory, markerFile)))
    throw new Problem(
      'state_missing',
      `There is no Sotto state in ${state.directory}.`,
      'Start the gateway once with `npm start`, or name its directory with --state DIR.',
    )
  process.umask(0o077)
  checkMarker(state)
  leaveToOwner(state.directory)
  return state
}

/**
 * Holds the directory for this process until the returned function is called or the process ends, however
 * it ends: SQLite's lock is the kernel's, so a crash leaves nothing to clean up.
 */
export function lockState(state: State): () => void {
  // A command that only looks whether it is held may hold it for a moment.
  return lockWithin(state, 500)
}

function lockWithin(state: State, timeout: number): () => void {
  const lockFile = join(state.directory, 'lock')
  const lock = new DatabaseSync(lockFile, { timeout })
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
  } catch (error) {
    lock.close()
    const problem = diskProblemOf(lockFile, error)
    if (problem) throw problem
    throw new Problem(
      'state_in_use',
      `Another gateway already serves from ${state.directory}.`,
      'Stop it first, or start this one with its own --state DIR.',
      error,
    )
  }
  return () => lock.close()
}

/** What a process puts its work into before it is whole: others see by the name whether it is still at it. */
export function workName(of: string): string {
  return `${of}-${process.pid}-`
}

/**
 * Removes what processes left behind that were killed at their work: a backup's copies of the databases, an
 * interface's settings, with the keys that are in them.
 */
export async function sweepState({ directory }: Pick<State, 'directory'>): Promise<void> {
  await sweep(directory, unfinished)
  await sweep(memoryDirectory, /^sotto-wg-(\d+)-/).catch(() => {})
}

/** @param left whose first group is the id of a process */
async function sweep(directory: string, left: RegExp): Promise<void> {
  for (const name of await readdir(directory)) {
    const [, pid] = left.exec(name) ?? []
    if (pid === undefined || isRunning(Number(pid))) continue
    // A disk that is read-only keeps it until the next time.
    await rm(join(directory, name), { recursive: true, force: true }).catch(() => {})
  }
}

/** Whether a gateway serves from the directory now. */
export function isServed(state: State): boolean {
  try {
    lockWithin(state, 0)()
    return false
  } catch (error) {
    return !isDiskProblem(error)
  }
}

/** What root's gateway would leave after a crash, the one that runs as the directory's user could not read. */
function checkOwner({ directory }: State): void {
  if (process.getuid?.() !== 0 || ownerOf(directory).uid === 0) return
  throw new Problem(
    'state_of_another',
    `${directory} belongs to another user, as whom its gateway runs.`,
    `Start that one (sudo systemctl start sotto), or take the directory back: sudo chown -R root: ${directory}`,
  )
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Another user's may be there, too.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

interface Marker {
  readonly sotto: 1
  readonly createdAt?: string
  /** Of the gateway; those that were made before it had one get it when they are served from. */
  readonly id?: string
}

function checkMarker(state: State): Marker {
  const text = readFileSync(join(state.directory, markerFile), 'utf8')
  const marker = parse(text)
  if (!isMarker(marker)) throw damaged(state)
  return marker
}

function isMarker(value: unknown): value is Marker {
  return (
    typeof value === 'object' &&
    value !== null &&
    'sotto' in value &&
    value.sotto === 1 &&
    (!('id' in value) || typeof value.id === 'string')
  )
}

async function writeMarker({ directory }: State, marker: Marker): Promise<void> {
  const { default: writeFileAtomic } = await import('write-file-atomic')
  await writeFileAtomic(join(directory, markerFile), `${JSON.stringify(marker)}\n`, { mode: 0o600 })
}

function damaged({ directory }: State): Problem {
  return new Problem(
    'state_damaged',
    `${join(directory, markerFile)} is not what Sotto writes: the directory is damaged or newer than this version.`,
    'Use the Sotto version that wrote it, restore it from a backup, or start anew with --state DIR.',
  )
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
