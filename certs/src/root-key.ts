/**
 * The root's private key: in the open as `root.key`, sealed under a passphrase as `root.key.age`, or put away
 * altogether. It is needed to make an intermediate and a roll-over, and never day to day.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import writeFileAtomic from 'write-file-atomic'
import { AuthorityError } from './authority-error.ts'
import { seal, unseal } from './passphrase.ts'
import { readPem, writePem } from './pem-file.ts'

export type RootKeyState = 'open' | 'sealed' | 'away'

const open = (directory: string) => join(directory, 'root.key')
const sealed = (directory: string) => join(directory, 'root.key.age')

export async function rootKeyState(directory: string): Promise<RootKeyState> {
  if ((await readPem(open(directory))) !== undefined) return 'open'
  return (await readSealed(directory)) === undefined ? 'away' : 'sealed'
}

/** Seals the key. A crash half way leaves both files, and sealing again finishes it. */
export async function sealRootKey(directory: string, passphrase: string): Promise<void> {
  const pem = await readPem(open(directory))
  if (pem === undefined)
    throw new AuthorityError(
      'root_key',
      (await readSealed(directory)) === undefined
        ? `There is no root key in ${directory}.`
        : 'The root key is sealed already.',
      'Open it first with `./sotto cert unprotect`, or bring root.key back from where it was put away.',
    )
  await writeFileAtomic(sealed(directory), Buffer.from(await seal(Buffer.from(pem), passphrase)), {
    mode: 0o600,
  })
  await rm(open(directory))
}

export async function openRootKey(directory: string, passphrase: string): Promise<void> {
  const pem = await unsealed(directory, passphrase)
  await writePem(open(directory), pem)
  await rm(sealed(directory))
}

/** @param passphrase asked for where the key is sealed */
export async function readRootKey(directory: string, passphrase: () => Promise<string>): Promise<KeyObject> {
  const pem =
    (await readPem(open(directory))) ??
    (await unsealed(directory, await passphraseFor(directory, passphrase)))
  return createPrivateKey(pem)
}

async function passphraseFor(directory: string, passphrase: () => Promise<string>): Promise<string> {
  return (await readSealed(directory)) === undefined ? '' : passphrase()
}

async function unsealed(directory: string, passphrase: string): Promise<string> {
  const bytes = await readSealed(directory)
  if (bytes === undefined)
    throw new AuthorityError(
      'root_key',
      `The root's key is not in ${directory}.`,
      'Bring root.key, or root.key.age, back from where it was put away.',
    )
  return Buffer.from(await unseal(bytes, passphrase)).toString()
}

async function readSealed(directory: string): Promise<Buffer | undefined> {
  return readFile(sealed(directory)).catch(() => undefined)
}
