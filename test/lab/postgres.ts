/** Debian's PostgreSQL in a directory of its own, reached by a socket in there alone. It refuses to be root's. */
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'

export interface Postgres {
  /** Of a database in it; its user needs no password. */
  url(database?: string): string
  /** A new database. */
  create(name: string): Promise<string>
  start(): Promise<void>
  /** As a restart of the machine would end it: connections are cut, what is committed stays. */
  stop(): Promise<void>
  /** Ends it and removes its directory. */
  close(): Promise<void>
}

export async function startPostgres(): Promise<Postgres> {
  const programs = await newest()
  const directory = await mkdtemp(join(tmpdir(), 'postgres-'))
  const { uid, gid } = await userOf('postgres')
  await chown(directory, uid, gid)
  const data = join(directory, 'data')
  const run = (program: string, ...options: string[]) =>
    execa(
      'setpriv',
      [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--', join(programs, program), ...options],
      { cwd: directory, stdin: 'ignore' },
    )
  const control = (...options: string[]) => run('pg_ctl', '-D', data, '-w', '-t', '120', ...options)
  const url = (database = 'postgres') => `postgres:///${database}?host=${directory}&user=postgres`
  const server: Postgres = {
    url,
    async create(name) {
      await run('createdb', '-h', directory, '-U', 'postgres', name)
      return url(name)
    },
    async start() {
      const settings = `-c listen_addresses= -c unix_socket_directories=${directory} -c fsync=off -c max_connections=300`
      await control('-l', join(directory, 'log'), '-o', settings, 'start')
    },
    async stop() {
      await control('-m', 'fast', 'stop')
    },
    async close() {
      await control('-m', 'immediate', 'stop').catch(() => {})
      await rm(directory, { recursive: true, force: true })
    },
  }
  await run(
    'initdb',
    '-D',
    data,
    '-U',
    'postgres',
    '-A',
    'trust',
    '-E',
    'UTF8',
    '--locale=C.UTF-8',
    '--no-sync',
  )
  await server.start()
  return server
}

async function newest(): Promise<string> {
  const versions = await readdir('/usr/lib/postgresql')
  const [version] = versions.toSorted((one, other) => Number(other) - Number(one))
  return `/usr/lib/postgresql/${version}/bin`
}

async function userOf(name: string): Promise<{ readonly uid: number; readonly gid: number }> {
  const { stdout } = await execa('getent', ['passwd', name])
  const [, , uid, gid] = stdout.split(':')
  return { uid: Number(uid), gid: Number(gid) }
}
