/** The real thing in a host of the lab: stand-ins, `sotto up`, `sotto …`, and a device that joins. */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { execa, type ResultPromise } from 'execa'
import { z } from 'zod'
import type { Host } from './lab.ts'

const root = resolve(import.meta.dirname, '..', '..')

const started = z.object({
  origins: z.array(z.string()).min(1),
  fingerprint: z.string(),
  overlay: z.union([
    z.object({ implementation: z.string() }),
    z.object({ problem: z.string(), remedy: z.string() }),
  ]),
  engines: z.object({
    chat: z.looseObject({ kind: z.string() }),
    transcription: z.looseObject({ kind: z.string() }),
  }),
  firstDevice: z.object({ name: z.string(), config: z.string() }).optional(),
})

export interface RunningGateway extends z.infer<typeof started> {
  readonly state: string
  readonly process: ResultPromise
  /** Everything that it said to people so far. */
  said(): string
  stop(): Promise<void>
}

/** A directory that is removed by the test that asked for it. */
export async function temporaryDirectory(): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'sotto-test-'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

/** The state of a further gateway of a house: a copy of the first one’s, without what that wrote while it ran. */
export async function copyHouse(first: string, state: string): Promise<void> {
  await mkdir(state, { mode: 0o700 })
  for (const file of ['certs', 'hub.key', 'config.yaml', 'sotto.json'])
    await cp(join(first, file), join(state, file), { recursive: true })
}

/** Starts `sotto up` and resolves when it serves; rejects with what it said where it ends instead. */
export async function startGateway(
  host: Pick<Host, 'start'> | undefined,
  state: string,
  ...options: string[]
): Promise<RunningGateway> {
  const { child, line, said } = await launch(host, ['up', '--json', '--state', state, ...options])
  return {
    ...started.parse(JSON.parse(line)),
    state,
    process: child,
    said,
    async stop() {
      child.kill('SIGTERM')
      await child
    },
  }
}

/** From now on this process trusts the CA of a state directory, `fetch` and all clients in it. */
export async function trust(state: string): Promise<void> {
  const ca = await readFile(join(state, 'certs', 'root.crt'), 'utf8')
  setDefaultCACertificates([...getCACertificates('default'), ca])
}

/** Runs another `sotto` command beside a gateway. */
export async function sotto(
  ...args: string[]
): Promise<{ readonly stdout: string; readonly stderr: string; readonly exitCode: number | undefined }> {
  const { stdout, stderr, exitCode } = await execa(process.execPath, [join(root, 'sotto.ts'), ...args], {
    reject: false,
  })
  return { stdout, stderr, exitCode }
}

/** Starts a stand-in as a process of a host; resolves to its address there. */
export async function startStandIn(
  host: Host | undefined,
  name: 'whisper' | 'ollama' | 'site' | 'smtp',
  port = 0,
  ...more: string[]
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const args = [join(root, 'test', 'stand-ins', `${name}.ts`), '--port', String(port), ...more]
  const settings = { stdin: 'ignore', buffer: false } as const
  const child = host
    ? host.start(process.execPath, args, settings)
    : execa(process.execPath, args, { ...settings, reject: false })
  const announced = z.object({ port: z.number() }).parse(JSON.parse(await firstLine(child)))
  return {
    url: `http://127.0.0.1:${announced.port}`,
    async stop() {
      child.kill('SIGKILL')
      await child
    },
  }
}

/** Brings a device's config up with `wg-quick`, as a person would. Its interface has the file's name. */
export async function joinOverlay(host: Host, directory: string, config: string, role = ''): Promise<string> {
  // Interfaces of wireguard-go share one folder, whatever their namespace.
  const name = `sd${process.pid % 100_000}${role.slice(0, 6)}`
  const file = join(directory, `${name}.conf`)
  await writeFile(file, config, { mode: 0o600 })
  const { exitCode } = await host.start('wg-quick', ['up', file], { stdio: 'ignore' })
  if (exitCode !== 0) throw new Error('wg-quick did not take the config')
  return name
}

/** Starts a command that goes on; resolves at its first line, and rejects with what it said where it ends. */
async function launch(host: Pick<Host, 'start'> | undefined, args: readonly string[]) {
  const all = [join(root, 'sotto.ts'), ...args]
  const settings = { stdin: 'ignore', buffer: false } as const
  const child = host
    ? host.start(process.execPath, all, settings)
    : execa(process.execPath, all, { ...settings, reject: false })
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const line = await firstLine(child).catch(async () => {
    const { exitCode, signal } = await child
    throw new Error(`${said.trim()}\n(ended with ${signal ?? exitCode})`)
  })
  return { child, line, said: () => said }
}

async function firstLine(child: ResultPromise): Promise<string> {
  let text = ''
  for await (const chunk of child.stdout ?? []) {
    text += String(chunk)
    if (text.includes('\n')) return text.split('\n')[0] ?? ''
  }
  throw new Error('it ended before it said a line')
}

const joinedAs = z.object({
  name: z.string(),
  address4: z.string(),
  address6: z.string(),
  origin: z.string(),
  interface: z.string(),
})

export interface Joined extends z.infer<typeof joinedAs> {
  /** What it said to people so far. */
  said(): string
  stop(): Promise<void>
}

/** Runs `sotto join` on a host; resolves when it is in. Without a link it goes on where it was. */
export async function joinNetwork(host: Host, state: string, link?: string): Promise<Joined> {
  const { child, line, said } = await launch(host, [
    'join',
    ...(link === undefined ? [] : [link]),
    '--state',
    state,
    '--json',
  ])
  return {
    ...joinedAs.parse(JSON.parse(line)),
    said,
    async stop() {
      child.kill('SIGTERM')
      await child
    },
  }
}
