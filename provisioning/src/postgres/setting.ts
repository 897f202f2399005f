/**
 * `database:` of config.yaml: that PostgreSQL holds what else lies in files of SQLite's. It stands in the state
 * directory, beside the files whose place it takes, since every command needs it.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { Problem } from '../problem.ts'

const postgresUrl = z
  .string('is no postgres:// address')
  .regex(/^postgres(?:ql)?:\/\//, 'is no postgres:// address')
  .refine(
    (url) => URL.canParse(url),
    'is no address: with a socket it is postgres:///NAME?host=/run/postgresql',
  )

/** An address alone, or with a file that holds its password; left out, SOTTO_DATABASE_PASSWORD. */
export const databaseSetting = z.union(
  [
    z.strictObject({ url: postgresUrl, passwordFile: z.string().min(1).optional() }),
    postgresUrl.transform((url) => ({ url, passwordFile: undefined })),
  ],
  { error: 'is a postgres:// address, or { url, passwordFile }' },
)

export interface PostgresSetting {
  /** `postgres://…`, its password in it: never shown. */
  readonly url: string
  /** For people: the address without what is secret in it. */
  readonly where: string
  /** What says so, for people. */
  readonly by: string
}

/** Of the state directory; undefined where SQLite holds everything. Throws a `Problem`. */
export async function readSetting(directory: string): Promise<PostgresSetting | undefined> {
  const config = join(directory, 'config.yaml')
  if (!existsSync(config)) return undefined
  const text = readFileSync(config, 'utf8')
  // Most have none, and need no parser.
  if (!/\bdatabase\b/.test(text)) return undefined
  const { parse } = await import('yaml')
  const written = z.object({ database: databaseSetting.optional() }).safeParse(readYaml(parse, text, config))
  if (!written.success) {
    const [issue] = written.error.issues
    throw new Problem(
      'config',
      `${config}: database: ${issue?.message}.`,
      'The README shows what it may hold.',
    )
  }
  const { database } = written.data
  if (!database) return undefined
  if (hasPassword(database.url)) checkPrivate(config, config, 'database')
  const password =
    database.passwordFile === undefined
      ? process.env.SOTTO_DATABASE_PASSWORD
      : readPassword(config, resolve(directory, database.passwordFile))
  return settingOf(database.url, password, `“database” in ${config}`)
}

/** @param password where the address holds none */
export function settingOf(address: string, password: string | undefined, by: string): PostgresSetting {
  const url = new URL(address)
  const database = url.pathname.slice(1)
  const host = url.searchParams.get('host') ?? (url.host || 'this machine')
  if (!hasPassword(address) && password !== undefined && password !== '')
    url.searchParams.set('password', password)
  return { url: url.href, where: `${host}${database && `/${database}`}`, by }
}

export function hasPassword(address: string): boolean {
  const url = new URL(address)
  return url.password !== '' || url.searchParams.has('password')
}

function readYaml(parse: (text: string) => unknown, text: string, config: string): unknown {
  try {
    return parse(text) ?? {}
  } catch (error) {
    // Its own message would show the line.
    throw new Problem(
      'config',
      `${config} can’t be read: it is no YAML.`,
      'The README shows an example.',
      error,
    )
  }
}

function readPassword(config: string, file: string): string {
  if (!existsSync(file))
    throw new Problem(
      'config',
      `${config}: database.passwordFile: there is no ${file}.`,
      'Name a file that holds it.',
    )
  checkPrivate(config, file, 'database.passwordFile')
  return readFileSync(file, 'utf8').trim()
}

function checkPrivate(config: string, file: string, field: string): void {
  if ((statSync(file).mode & 0o077) === 0) return
  const what = file === config ? 'it holds a password, and others may read it' : `others may read ${file}`
  throw new Problem('config', `${config}: ${field}: ${what}.`, `chmod 600 ${file}`)
}
