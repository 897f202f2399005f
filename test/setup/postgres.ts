/** A PostgreSQL for the tests of the stores, which run on it as they run on SQLite. */
import type { TestProject } from 'vitest/node'
import { startPostgres } from '../lab/postgres.ts'
import packages from './packages.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Address of a database from which others can be made. */
    readonly postgres: string
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await packages()
  const server = await startPostgres()
  project.provide('postgres', server.url())
  return () => server.close()
}
