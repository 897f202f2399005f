/** Whose the files of a state directory are. The gateway may run as a user of its own, and root work beside it. */
import { closeSync, constants, fchownSync, fstatSync, openSync, readdirSync, statSync } from 'node:fs'

export interface Owner {
  readonly uid: number
  readonly gid: number
}

export function ownerOf(path: string): Owner {
  const { uid, gid } = statSync(path)
  return { uid, gid }
}

/**
 * Gives a directory and all in it to a user; resolves to how much changed hands. That user may be at work in it:
 * each step goes by an open directory rather than a path, no link is followed, and a file of two names stays as
 * it is, so that nothing outside can be given away. Linux alone.
 */
export function giveTo(directory: string, owner: Owner): number {
  const folder = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    return give(folder, owner)
  } finally {
    closeSync(folder)
  }
}

function give(open: number, owner: Owner): number {
  const { uid, gid, nlink } = fstatSync(open)
  const folder = fstatSync(open).isDirectory()
  const changes = (uid !== owner.uid || gid !== owner.gid) && (folder || nlink === 1)
  if (changes) fchownSync(open, owner.uid, owner.gid)
  let given = changes ? 1 : 0
  if (!folder) return given
  for (const name of readdirSync(`/proc/self/fd/${open}`)) {
    const child = openWithin(open, name)
    if (child === undefined) continue
    try {
      given += give(child, owner)
    } finally {
      closeSync(child)
    }
  }
  return given
}

/** Undefined for a link, and for what is gone by now. */
function openWithin(folder: number, name: string): number | undefined {
  try {
    // A pipe is not waited for.
    return openSync(
      `/proc/self/fd/${folder}/${name}`,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    )
  } catch {
    return undefined
  }
}

/**
 * What root makes in a directory of another's is given to its owner when this process ends, who could not read it
 * otherwise. (SQLite does so itself for its journals.)
 */
export function leaveToOwner(directory: string): void {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return
  const owner = ownerOf(directory)
  if (owner.uid === 0) return
  process.once('exit', () => giveTo(directory, owner))
}
