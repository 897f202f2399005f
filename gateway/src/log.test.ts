import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openLogFile } from './log.ts'

describe('the log', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sotto-log-'))
  })
  afterEach(() => rm(directory, { recursive: true }))

  it('has each line whole and in order, is added to, and is for its owner alone', async () => {
    const file = join(directory, 'gateway.log')
    const wanted = Array.from({ length: 2_000 }, (_, at) => `{"line":${at},"text":"ä"}\n`)
    for (const half of [wanted.slice(0, 1_000), wanted.slice(1_000)]) {
      const log = await openLogFile(file)
      for (const line of half) log.write(line)
      await log.close()
    }
    expect(await readFile(file, 'utf8')).toBe(wanted.join(''))
    expect((await stat(file)).mode & 0o777).toBe(0o600)
  })

  it('on a disk that is full takes lines without an error and without an end, and can be closed', async () => {
    // The kernel's own: each write to it fails with ENOSPC.
    const log = await openLogFile('/dev/full')
    const line = `${'x'.repeat(1_000)}\n`
    for (let count = 0; count < 5_000; count += 1) log.write(line)
    await new Promise((settle) => setImmediate(settle))
    await log.close()
  })
})
