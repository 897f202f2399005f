import { sql } from 'kysely'
import { readSetting } from '../postgres/setting.ts'
import { ok, type Check, type Diagnosis } from './check.ts'
import type { Problem } from '../problem.ts'

export const database: Check = {
  code: 'database',
  name: 'Database',
  async run({ state, database: opened }) {
    const setting = await readSetting(state.directory)
    if (!setting) return ok(`SQLite, in ${state.directory}`)
    const { rows } = await sql<{ server_version: string }>`SHOW server_version`.execute(opened)
    return ok(`PostgreSQL ${rows[0]?.server_version} at ${setting.where}`)
  },
}

/** What is found where it can’t be opened: all else that is asked stands in it. */
export function databaseAway({ message, remedy }: Problem): Diagnosis {
  return { code: database.code, name: database.name, status: 'failed', message, remedy }
}
