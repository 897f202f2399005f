/** Rows that wait for PostgreSQL, in a file: this process may end before it is back. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import writeFileAtomic from 'write-file-atomic'
import type { AuditRow, PromptRow } from './ledger.ts'

export interface Rows {
  readonly audit: readonly AuditRow[]
  readonly prompts: readonly PromptRow[]
}

export interface Aside {
  /** What an earlier process left. */
  read(): Rows
  /** Takes the place of what was put there before. */
  put(rows: Rows): void
  /** All of it is in the ledger. */
  clear(): void
  /** Resolves when what was put is on disk. */
  settled(): Promise<void>
}

export function createAside(file: string, failed: (error: unknown) => void): Aside {
  let last: Promise<void> = Promise.resolve()
  let there = existsSync(file)
  return {
    read: () => (there ? JSON.parse(readFileSync(file, 'utf8')) : { audit: [], prompts: [] }),
    put(rows) {
      there = true
      const text = JSON.stringify(rows)
      last = last.then(() => writeFileAtomic(file, text, { mode: 0o600 })).catch(failed)
    },
    clear() {
      if (!there) return
      there = false
      last = last.then(() => rmSync(file, { force: true })).catch(failed)
    },
    settled: () => last,
  }
}
