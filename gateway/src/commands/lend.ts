/** `sotto lend`: lends this machine's models and services to a gateway, until it is stopped. */
import type { Output } from '@sotto/provisioning/commands/output.ts'
import { Command } from 'commander'
import type { Lending } from '#tunnel/allowed.ts'
import type { LendStatus } from '#tunnel/lender.ts'

export interface LendDeps {
  readonly output: Output
  /** One line for people. */
  notice(text: string): void
  /** A line that the next one takes the place of; false where there is no terminal to show it on. */
  live(text: string): boolean
  /** Resolves when the process is asked to end. */
  asked(): Promise<void>
  /** By which this program is started again, absolute. */
  readonly program: readonly string[]
}

interface Options {
  readonly to?: string
  readonly key?: string
  readonly keyFile?: string
  readonly ca?: string
  readonly name?: string
  readonly ollama?: string
  readonly whisper?: string
  readonly service: readonly string[]
  readonly parallel: string
  readonly install?: boolean
  readonly uninstall?: boolean
  readonly json?: boolean
}

export function lendCommand(deps: LendDeps): Command {
  return new Command('lend')
    .description(
      'lend this machine’s models and services to a gateway, over a connection that it dials itself',
    )
    .option('--to <url>', 'the gateway, or its listener for tunnels: https://…')
    .option('--key <key>', 'a key that may lend; others see it here: better SOTTO_KEY, or')
    .option('--key-file <file>', 'a file with the key that nobody else may read')
    .option('--ca <file>', 'the gateway’s authority, where this machine does not trust it')
    .option('--name <name>', 'what to call this machine there (default: its host name)')
    .option('--ollama <url>', 'Ollama (default: http://127.0.0.1:11434, where it answers)')
    .option('--whisper <url>', 'a speech-to-text server')
    .option(
      '--service <name=url>',
      'a further service, with the path that is lent; …/* lends what is below. May be repeated',
      (value: string, before: readonly string[]) => [...before, value],
      [],
    )
    .option('--parallel <n>', 'requests to its models that this machine answers at once', '4')
    .option('--install', 'do so from now on, as a service of this machine')
    .option('--uninstall', 'end that service, and forget its key')
    .option('--json', 'print the status as JSON, a line for each change')
    .action(async (options: Options) => {
      const name = await nameOf(options.name)
      if (options.uninstall) return uninstall(deps, name)
      const { readLendOptions } = await import('#tunnel/options.ts')
      const read = await readLendOptions(options, process.env)
      if (options.install) return install(deps, name, read)
      await run(deps, { ...read, name }, options.json === true)
    })
}

type Read = Awaited<ReturnType<typeof import('#tunnel/options.ts').readLendOptions>>

async function nameOf(given: string | undefined): Promise<string> {
  const { hostname } = await import('node:os')
  const { lenderName } = await import('#tunnel/offer.ts')
  const { Problem } = await import('@sotto/provisioning/problem.ts')
  const name =
    given ??
    hostname()
      .toLowerCase()
      .split('.')[0]
      ?.replaceAll(/[^a-z0-9-]+/g, '-') ??
    ''
  if (lenderName.test(name)) return name
  throw new Problem(
    'lend_name',
    `“${name}” is no name of small letters, digits and dashes.`,
    'For example: --name rig',
  )
}

async function run(
  { output, notice, live, asked }: LendDeps,
  read: Read & { readonly name: string },
  json: boolean,
): Promise<void> {
  const { readHardware } = await import('#tunnel/hardware.ts')
  const { lend } = await import('#tunnel/lender.ts')
  const { default: packageJson } = await import('../../package.json', { with: { type: 'json' } })
  const { to, key, ca, name, lending, parallel } = read
  const stopped = asked()
  let told = ''
  const tell = (status: LendStatus): void => {
    const text = JSON.stringify(status)
    if (text !== told) output.result({ name, ...status }, '')
    told = text
  }
  const lender = lend({
    to,
    key,
    name,
    lending,
    ...(ca !== undefined && { ca }),
    offer: {
      version: packageJson.version,
      ollama: lending.ollama !== undefined,
      whisper: lending.whisper !== undefined,
      services: lending.services.map((one) => one.name),
      parallel,
      hardware: await readHardware(),
    },
    changed(status) {
      if (json) return tell(status)
      if (live(line(name, status))) return
      const text = says(status, to, lending)
      if (text !== told && text !== '') notice(text)
      told = text
    },
  })
  const redrawn = setInterval(() => {
    if (json) tell(lender.status)
    else live(line(name, lender.status))
  }, 1_000)
  try {
    await Promise.race([lender.connected, stopped])
    await stopped
  } finally {
    clearInterval(redrawn)
    await lender.close()
  }
}

/** What a log has of it: no line where nothing is new. */
function says({ state, lastError }: LendStatus, to: string, lending: Lending): string {
  if (state === 'connected') return `Lends ${lent(lending)} to ${to}.`
  return state === 'waiting' ? `Not connected: ${lastError}` : ''
}

function lent({ ollama, whisper, services }: Lending): string {
  return [
    ...(ollama === undefined ? [] : ['Ollama']),
    ...(whisper === undefined ? [] : ['Whisper']),
    ...services.map(({ name }) => name),
  ].join(', ')
}

function line(name: string, status: LendStatus): string {
  const { state, since, requests, running, tokensPerSecond, lastError } = status
  const parts = [
    `${state === 'connected' ? '✔' : '·'} ${name} ${state}`,
    ...(since === null ? [] : [`since ${new Date(since).toLocaleTimeString()}`]),
    `${requests} requests, ${running} running`,
    `${tokensPerSecond.toFixed(1)} tokens/s`,
    ...(lastError === null ? [] : [`last error: ${lastError}`]),
  ]
  return parts.join(' · ')
}

async function install({ output, program }: LendDeps, name: string, read: Read): Promise<void> {
  const { here, installService } = await import('#daemon/plan.ts')
  const { planService } = await import('#tunnel/install.ts')
  const plan = planService({
    name,
    program,
    options: [...read.again, '--name', name],
    key: read.key,
    ...here(),
  })
  const failures = await installService(plan)
  const files = plan.files.map(({ path }) => path)
  output.result(
    { installed: failures.length === 0 && plan.byHand === undefined, files, failures, byHand: plan.byHand },
    [
      ...files.map((path) => `Wrote ${path}`),
      ...failures.map((text) => `✘ ${text}`),
      plan.byHand ?? (failures.length === 0 ? `“${name}” lends from now on.` : 'Start it by hand.'),
    ].join('\n'),
  )
}

async function uninstall({ output, program }: LendDeps, name: string): Promise<void> {
  const { here, uninstallService } = await import('#daemon/plan.ts')
  const { planService } = await import('#tunnel/install.ts')
  const plan = planService({ name, program, options: [], key: '', ...here() })
  const failures = await uninstallService(plan)
  output.result(
    { uninstalled: true, failures },
    [...failures.map((text) => `✘ ${text}`), `“${name}” is no service any more, and its key is gone.`].join(
      '\n',
    ),
  )
}
