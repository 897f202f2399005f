/** Each directory that a test makes for a state of ours says that PostgreSQL holds it, in a database of its own. */
import { writeFile } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { inject, vi } from 'vitest'

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>()
  return {
    ...real,
    async mkdtemp(prefix: string) {
      const folder = await real.mkdtemp(prefix)
      if (prefix.startsWith(join(tmpdir(), 'sotto-'))) await holdByPostgres(folder)
      return folder
    },
  }
})

async function holdByPostgres(folder: string): Promise<void> {
  const url = new URL(inject('postgres'))
  const name = `sotto_${randomUUID().replaceAll('-', '')}`
  const client = new Client({ connectionString: url.href })
  await client.connect()
  await client.query(`CREATE DATABASE ${name}`)
  await client.end()
  url.pathname = `/${name}`
  await writeFile(join(folder, 'config.yaml'), `database: ${JSON.stringify(url.href)}\n`, {
    mode: 0o600,
  })
}
