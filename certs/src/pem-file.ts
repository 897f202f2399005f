/** PEM files: read if they are there, written whole or not at all. */
import { readFile } from 'node:fs/promises'
import writeFileAtomic from 'write-file-atomic'
import { AuthorityError } from './authority-error.ts'

/** Undefined where there is no such file. Throws an `AuthorityError` for one that may not be read. */
export async function readPem(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw inaccessible(`${file} can't be read`, error)
  }
}

/** @param mode 0o600 unless the file is for others to read too */
export async function writePem(file: string, pem: string | Uint8Array, mode = 0o600): Promise<void> {
  await writeFileAtomic(file, typeof pem === 'string' ? pem : Buffer.from(pem), { mode }).catch(
    (error: unknown) => {
      throw inaccessible(`${file} can't be written`, error)
    },
  )
}

export function inaccessible(what: string, cause: unknown): AuthorityError {
  const code = codeOf(cause)
  return new AuthorityError(
    'inaccessible',
    `${what} (${String(code)}).`,
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'Free some space on the disk.'
      : code === 'EROFS' || code === 'EIO'
        ? 'Make the disk writable. See why it is not: sudo dmesg | tail'
        : 'Run it as the user that owns the directory, or name another one.',
    cause,
  )
}

/** The system's name for an error, for example EACCES. */
function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
