/** For tests: a directory of their own, what a CA is asked for, and openssl's verdict. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach } from 'vitest'

export const home = {
  name: 'Sotto CA of home',
  permitted: { dns: ['sotto.internal'], ip: ['10.77.0.0/24', '127.0.0.1/32', 'fd12:3456:789a::/64'] },
}

export const openssl = (...args: string[]) => promisify(execFile)('openssl', args)

/** Rejects with openssl's words on stderr. */
export const verify = (root: string, chain: string, leaf: string, ...options: string[]) =>
  openssl('verify', ...options, '-CAfile', root, '-untrusted', chain, leaf)

/** Of `leaf.crt` in a CA's directory. */
export const verifyLeaf = (directory: string, ...options: string[]) => {
  const [root = '', chain = '', leaf = ''] = ['root', 'intermediate', 'leaf'].map((name) =>
    join(directory, `${name}.crt`),
  )
  return verify(root, chain, leaf, '-x509_strict', ...options)
}

export const inDays = (count: number): Date => new Date(Date.now() + count * 86_400_000)

/** An empty directory for each test of the file; a function, since it is another one each time. */
export function scratchDirectory(): () => string {
  let directory = ''
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sotto-certs-'))
  })
  afterEach(() => rm(directory, { recursive: true }))
  return () => directory
}
