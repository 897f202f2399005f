/** Passphrases, and what is sealed with one: age's format (age-encryption.org/v1), scrypt, as `age -p` writes. */
import { readFile } from 'node:fs/promises'
import { Decrypter, Encrypter } from 'age-encryption'
import { AuthorityError } from './authority-error.ts'

/** Shorter ones are found by trying, whatever scrypt costs. */
const shortest = 12

export async function seal(plain: Uint8Array, passphrase: string): Promise<Uint8Array> {
  const encrypter = new Encrypter()
  encrypter.setPassphrase(passphrase)
  return encrypter.encrypt(plain)
}

/** Throws an `AuthorityError`: `wrong_passphrase`, also for what is damaged, since nobody can tell them apart. */
export async function unseal(sealed: Uint8Array, passphrase: string): Promise<Uint8Array> {
  const decrypter = new Decrypter()
  decrypter.addPassphrase(passphrase)
  return decrypter.decrypt(sealed).catch((error: unknown) => {
    throw new AuthorityError(
      'wrong_passphrase',
      'It does not open: the passphrase is another one, or the file is damaged.',
      'Try again, mind upper and lower case and the keyboard’s layout.',
      error,
    )
  })
}

export interface PassphraseSource {
  /** A file whose first line it is; without it the terminal is asked. */
  readonly passphraseFile?: string
}

/**
 * @param confirm whether it is a new one: asked for twice, and not too short
 */
export async function readPassphrase(
  { passphraseFile }: PassphraseSource,
  { what, confirm }: { readonly what: string; readonly confirm: boolean },
): Promise<string> {
  const given = passphraseFile === undefined ? await ask(what, confirm) : await firstLine(passphraseFile)
  if (confirm && given.length < shortest)
    throw new AuthorityError(
      'short_passphrase',
      `The passphrase has fewer than ${shortest} characters.`,
      'Take four or five words.',
    )
  return given
}

async function ask(what: string, confirm: boolean): Promise<string> {
  if (!process.stdin.isTTY)
    throw new AuthorityError(
      'no_passphrase',
      `The passphrase of ${what} is asked for at a terminal, and this is none.`,
      'Name a file that holds it: --passphrase-file FILE',
    )
  const { default: password } = await import('@inquirer/password')
  const first = await password({ message: `Passphrase of ${what}:` }, { output: process.stderr })
  if (!confirm) return first
  const second = await password({ message: 'Once more:' }, { output: process.stderr })
  if (first === second) return first
  throw new AuthorityError('no_passphrase', 'The two are not the same.', 'Try again.')
}

async function firstLine(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new AuthorityError(
      'no_passphrase',
      `${file} can't be read (${error.code}).`,
      'Name another file.',
      error,
    )
  })
  return text.split(/\r?\n/, 1)[0] ?? ''
}
