/** A leaf, its key and its chain in one PKCS#12 file, as some apps and devices want them. By openssl-pkcs12(1). */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa, ExecaError } from 'execa'
import { AuthorityError } from './authority-error.ts'
import type { Leaf } from './leaf.ts'

/** @param password mkcert's is `changeit` */
export async function makePkcs12(leaf: Leaf, name: string, password: string): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'sotto-p12-'))
  const at = (file: string) => join(folder, file)
  const files = { 'leaf.crt': leaf.cert, 'leaf.key': leaf.key, password }
  try {
    for (const [file, content] of Object.entries(files)) await writeFile(at(file), content, { mode: 0o600 })
    const { stdout } = await execa({
      encoding: 'buffer',
    })`openssl pkcs12 -export -in ${at('leaf.crt')} -inkey ${at('leaf.key')} -name ${name} -passout ${`file:${at('password')}`}`
    return stdout
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error
    throw new AuthorityError(
      'inaccessible',
      'openssl could not make the PKCS#12 file.',
      'Install it: sudo apt-get install openssl',
      error,
    )
  } finally {
    await rm(folder, { recursive: true })
  }
}
