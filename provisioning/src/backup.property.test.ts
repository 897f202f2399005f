/** Files that somebody calls a backup: each is refused in words, at once where opening it would take hours, and leaves nothing. */
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AuthorityError } from '@sotto/certs/authority-error.ts'
import { seal } from '@sotto/certs/passphrase.ts'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { restore } from './backup.ts'
import { Problem } from './problem.ts'

const passphrase = 'four or five words'

describe('a file that is no backup of ours', () => {
  let directory: string
  /** Right, but for what is in it. */
  let sealed: Buffer

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sotto-backup-'))
    sealed = Buffer.from(await seal(new Uint8Array(2_000), passphrase))
  })
  afterAll(() => rm(directory, { recursive: true }))

  const refused = async (content: Uint8Array): Promise<void> => {
    const file = join(directory, 'x.age')
    await writeFile(file, content)
    const error = await restore(join(directory, 'state'), file, passphrase).then(
      () => 'restored',
      (failure: unknown) => failure,
    )
    expect(error instanceof Problem || error instanceof AuthorityError, String(error)).toBe(true)
    expect(existsSync(join(directory, 'state'))).toBe(false)
    expect(await readdir(directory)).toEqual(['x.age'])
  }

  it('is refused whatever it holds', async () => {
    const bytes = fc.uint8Array({ maxLength: 400 })
    const begun = bytes.map((rest) => Buffer.concat([Buffer.from('age-encryption.org/v1\n'), rest]))
    const stanza = fc
      .tuple(fc.constantFrom('scrypt', 'X25519', '__proto__'), fc.string(), fc.string(), fc.string())
      .map(([kind, salt, work, rest]) =>
        Buffer.from(`age-encryption.org/v1\n-> ${kind} ${salt} ${work}\n${rest}\n--- ${rest}\n`),
      )
    await fc.assert(fc.asyncProperty(fc.oneof(bytes, begun, stanza), refused), { numRuns: 300 })
  })

  it('is refused at once where it asks for more work than any passphrase is worth', async () => {
    const asking = fc.integer({ min: 21, max: 999 })
    await fc.assert(
      fc.asyncProperty(asking, (work) =>
        refused(Buffer.from(sealed.toString('latin1').replace(' 18\n', ` ${work}\n`), 'latin1')),
      ),
      { numRuns: 100 },
    )
  })

  it(
    'is refused with any byte of it changed, or cut anywhere',
    // Each that looks right costs scrypt's second.
    { timeout: 120_000 },
    async () => {
      const changed = fc
        .tuple(fc.nat(), fc.integer({ min: 1, max: 255 }))
        // Not the work that it asks for: more would take minutes.
        .filter(
          ([place]) => !/ 1\d?$/.test(sealed.subarray(0, (place % sealed.length) + 1).toString('latin1')),
        )
        .map(([place, bits]) => {
          const copy = Buffer.from(sealed)
          copy[place % copy.length] = (copy[place % copy.length] ?? 0) ^ bits
          return copy
        })
      const cut = fc.nat().map((place) => sealed.subarray(0, place % sealed.length))
      await fc.assert(fc.asyncProperty(fc.oneof(changed, cut), refused), { numRuns: 12 })
    },
  )
})
