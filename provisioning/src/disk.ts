/** The disk that the state is on: whether it takes what is written, and what helps where it does not. */
import { rmSync, writeFileSync } from 'node:fs'
import { rm, statfs, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Problem } from './problem.ts'

/** `unwritable`: it is mounted read-only, or it fails; a system makes one that fails read-only. */
export type DiskFault = 'full' | 'unwritable'

export interface Disk {
  readonly freeBytes: number
  /** Undefined for one that takes what is written. */
  readonly fault: DiskFault | undefined
}

/** One block: what a disk that is full has no room for. */
const probeBytes = 4_096

/** Looks at the disk of a directory by writing there, since a disk that fails does not say so itself. */
export async function lookAtDisk(directory: string): Promise<Disk> {
  const { bavail, bsize } = await statfs(directory)
  const probe = probeIn(directory)
  try {
    await writeFile(probe, Buffer.alloc(probeBytes), { mode: 0o600 })
    return { freeBytes: bavail * bsize, fault: undefined }
  } catch (error) {
    return { freeBytes: bavail * bsize, fault: faultOf(error, directory) ?? 'unwritable' }
  } finally {
    await rm(probe, { force: true }).catch(() => {})
  }
}

/** Throws a `Problem` where the disk of a directory takes nothing. */
export async function requireDisk(directory: string): Promise<void> {
  const { fault } = await lookAtDisk(directory)
  if (fault) throw diskProblem(directory, fault)
}

/** What went wrong with a file, as the `Problem` of its disk; undefined where the disk is not to blame. */
export function diskProblemOf(file: string, error: unknown): Problem | undefined {
  const fault = faultOf(error, dirname(file))
  return fault && diskProblem(dirname(file), fault, error)
}

export function isDiskProblem(error: unknown): error is Problem & { readonly code: `disk_${DiskFault}` } {
  return error instanceof Problem && error.code.startsWith('disk_')
}

export function diskProblem(directory: string, fault: DiskFault, cause?: unknown): Problem {
  return fault === 'full'
    ? new Problem(
        'disk_full',
        `The disk of ${directory} is full: nothing can be written down there.`,
        `Free some space: df -h ${directory}`,
        cause,
      )
    : new Problem(
        'disk_unwritable',
        `The disk of ${directory} can’t be written to: it is read-only, or it fails.`,
        `See why: sudo dmesg | tail. If it is only mounted so: sudo mount -o remount,rw $(findmnt -no TARGET -T ${directory}); after an error of the disk stop the gateway, check the disk (fsck) and mount it anew.`,
        cause,
      )
}

/** Source: sqlite.org/rescode.html; the low byte is what went wrong, the rest where. */
const sqliteFull = 13
/** SQLITE_READONLY, SQLITE_IOERR and SQLITE_CANTOPEN: the disk may be to blame, or who asks. */
const sqliteMaybe: ReadonlySet<number> = new Set([8, 10, 14])

function faultOf(error: unknown, directory: string): DiskFault | undefined {
  if (!(error instanceof Error)) return undefined
  const code = 'code' in error ? error.code : undefined
  const sqlite = 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : 0
  if (code === 'ENOSPC' || code === 'EDQUOT' || sqlite === sqliteFull) return 'full'
  if (code === 'EROFS' || code === 'EIO') return 'unwritable'
  return sqliteMaybe.has(sqlite) ? probed(directory) : undefined
}

/** At once, since SQLite's errors are told at once. Undefined also for a directory that is not ours to write to. */
function probed(directory: string): DiskFault | undefined {
  const probe = probeIn(directory)
  try {
    writeFileSync(probe, Buffer.alloc(probeBytes), { mode: 0o600 })
    return undefined
  } catch (error) {
    return faultOf(error, directory)
  } finally {
    try {
      rmSync(probe, { force: true })
    } catch {
      // It could not be made, either.
    }
  }
}

function probeIn(directory: string): string {
  return join(directory, `.probe-${process.pid}`)
}
