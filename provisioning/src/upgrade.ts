/**
 * What keeps an upgrade from being a way of no return: a copy of each database before its tables change, and the
 * version that changed them, so that an older one says which it takes instead of reading what it does not know.
 */
import { channel } from 'node:diagnostics_channel'
import {
  chmodSync,
  existsSync,
  openSync,
  fsyncSync,
  closeSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import packageJson from '../package.json' with { type: 'json' }
import { Problem } from './problem.ts'

/** Publishes `{ file, copy }` for each copy that was kept; who speaks with people subscribes. */
export const keptCopies = channel('sotto:database-kept')

/** Older ones go: an upgrade is taken back soon or not at all. */
const copiesKept = 3

export const ownVersion = packageJson.version

/** One consistent copy in a new file, whatever a gateway writes meanwhile (SQLite, `VACUUM INTO`). */
export function copyDatabase(file: string, to: string): void {
  const database = new DatabaseSync(file, { readOnly: true, timeout: 5_000 })
  try {
    database.prepare('VACUUM INTO ?').run(to)
  } finally {
    database.close()
  }
}

/**
 * Keeps a copy as `FILE.before-VERSION`, on disk before it returns. Throws a `Problem` where there is no room:
 * then nothing is upgraded.
 *
 * @param ran how many migrations are in it; a copy that has others comes after another process's upgrade
 */
export function keepCopy(file: string, ran: number): void {
  const part = `${file}.copy-${process.pid}`
  try {
    rmSync(part, { force: true })
    copyDatabase(file, part)
    chmodSync(part, 0o600)
    if (countMigrations(part) !== ran) return
    const handle = openSync(part, 'r+')
    fsyncSync(handle)
    closeSync(handle)
    const copy = freeName(`${file}.before-${ownVersion}`)
    renameSync(part, copy)
    for (const old of copiesOf(file).slice(copiesKept)) rmSync(old)
    keptCopies.publish({ file, copy })
  } catch (error) {
    throw new Problem(
      'upgrade_copy',
      `No copy of ${file} could be kept, so it was not brought up to date.`,
      `Free some space (df -h ${dirname(file)}), then start again.`,
      error,
    )
  } finally {
    rmSync(part, { force: true })
  }
}

/** @param unknown a migration that this version does not have */
export function newerDatabase(file: string, unknown: string, userVersion: number): Problem {
  const by = readVersion(userVersion)
  const newer = by === undefined || by === ownVersion ? `a later one than this ${ownVersion}` : by
  const [copy] = copiesOf(file)
  return new Problem(
    'database_newer',
    `${file} was brought up to date by Sotto ${newer}, and this is ${ownVersion}: it does not know “${unknown}”.`,
    `Use Sotto ${by === undefined || by === ownVersion ? `later than ${ownVersion}` : `${by} or later`}. ` +
      (copy === undefined
        ? `To stay with ${ownVersion}, restore a backup from its time.`
        : `To go back to what was before that upgrade (what came since is lost), stop the gateway, then: ` +
          `rm -f ${file}-wal ${file}-shm && cp -p ${copy} ${file}`),
  )
}

/** As `PRAGMA user_version` takes it: 32 bits, of which 1.2.3 is 1002003. */
export function ownUserVersion(): number {
  const [major = 0, minor = 0, patch = 0] = ownVersion.split('.').map((part) => Number.parseInt(part, 10))
  return major * 1_000_000 + minor * 1_000 + patch
}

/** Undefined for a database of before versions were noted. */
function readVersion(number: number): string | undefined {
  if (number <= 0) return undefined
  return [Math.floor(number / 1_000_000), Math.floor(number / 1_000) % 1_000, number % 1_000].join('.')
}

/** The newest first. */
function copiesOf(file: string): string[] {
  return readdirSync(dirname(file))
    .filter((name) => name.startsWith(`${basename(file)}.before-`))
    .map((name) => join(dirname(file), name))
    .toSorted((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs || (other > one ? 1 : -1))
}

function freeName(wanted: string): string {
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? wanted : `${wanted}.${number}`
    if (!existsSync(name)) return name
  }
}

function countMigrations(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    return Number(database.prepare('SELECT count(*) AS count FROM kysely_migration').get()?.count)
  } finally {
    database.close()
  }
}
