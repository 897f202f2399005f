/**
 * Replacing the CA while nobody notices. A roll-over makes the next CA in `next/` beside the one that is in use;
 * from then on devices are given both roots to trust. When they have them, the switch puts the next one in
 * place, and the old root stays in `previous/` for as long as it holds. A crash in the switch is finished by
 * the next start: its marker stands until all is in place.
 */
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { X509Certificate, type KeyObject } from 'node:crypto'
import { AuthorityError } from './authority-error.ts'
import { loadAuthority, makeAuthority, makeIntermediate, type Authority } from './authority.ts'
import { readPem, writePem } from './pem-file.ts'

const next = (directory: string) => join(directory, 'next')
const marker = (directory: string) => join(next(directory), 'switching')
const previousRoot = (directory: string) => join(directory, 'previous', 'root.crt')
const replaced = new Set(['root.key', 'root.key.age', 'root.crt', 'intermediate.key', 'intermediate.crt'])

/** Makes the next CA, for the same names. Throws an `AuthorityError` where there is one already. */
export async function beginRollover(directory: string, now: Date = new Date()): Promise<Authority> {
  const current = await loadAuthority(directory, { ended: true })
  const name = `${current.name.replace(/ \(\d{4}\)$/, '')} (${now.getUTCFullYear()})`
  return makeAuthority(next(directory), { name, permitted: current.permitted, now })
}

/** Puts the next CA in place. Leaves are of the new one from then on. */
export async function finishRollover(directory: string): Promise<Authority> {
  if (!existsSync(join(next(directory), 'root.crt')))
    throw new AuthorityError('no_rollover', 'No roll-over was begun.', 'Begin one: ./sotto cert rollover')
  await loadAuthority(next(directory))
  const old = await readPem(join(directory, 'root.crt'))
  if (old !== undefined) {
    await mkdir(join(directory, 'previous'), { recursive: true, mode: 0o700 })
    await writePem(previousRoot(directory), old)
  }
  await switchOver(directory)
  return loadAuthority(directory)
}

/** A new intermediate from the same root: devices need nothing new. */
export async function renewIntermediate(
  directory: string,
  rootKey: KeyObject,
  now: Date = new Date(),
): Promise<Authority> {
  const root = (await readPem(join(directory, 'root.crt'))) ?? ''
  await rm(next(directory), { recursive: true, force: true })
  await mkdir(next(directory), { recursive: true, mode: 0o700 })
  for (const [file, pem] of await makeIntermediate(root, rootKey, now))
    await writePem(join(next(directory), file), pem)
  await switchOver(directory)
  return loadAuthority(directory, { now })
}

/** Finishes a switch that a crash cut short; a no-op where there was none. */
export async function resumeSwitch(directory: string): Promise<void> {
  if (existsSync(marker(directory))) await copyOver(directory)
}

/** What a device should trust: the root in use, the next one while a roll-over runs, the last while it holds. */
export async function trustedRoots(directory: string, now: Date = new Date()): Promise<string[]> {
  return (await rootFiles(directory, now)).map(({ pem }) => pem)
}

/** The same, with the file that holds each. */
export async function rootFiles(
  directory: string,
  now: Date = new Date(),
): Promise<{ readonly file: string; readonly pem: string }[]> {
  const files = [join(directory, 'root.crt'), join(next(directory), 'root.crt'), previousRoot(directory)]
  const roots: { readonly file: string; readonly pem: string }[] = []
  for (const file of files) {
    const pem = await readPem(file)
    if (pem === undefined || roots.some((other) => other.pem === pem)) continue
    if (new X509Certificate(pem).validToDate > now) roots.push({ file, pem })
  }
  return roots
}

async function switchOver(directory: string): Promise<void> {
  await writePem(marker(directory), '')
  await copyOver(directory)
}

async function copyOver(directory: string): Promise<void> {
  const coming = (await readdir(next(directory))).filter((file) => replaced.has(file))
  // A sealed key of the old root must not pass for the new one's, nor the other way round.
  if (coming.includes('root.crt'))
    for (const key of ['root.key', 'root.key.age'])
      if (!coming.includes(key)) await rm(join(directory, key), { force: true })
  for (const file of coming) await cp(join(next(directory), file), join(directory, file))
  await rm(next(directory), { recursive: true })
}
