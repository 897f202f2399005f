/** `sotto status`: the gateway, its interface, its devices and its engines, as they are now. */
import type { Output } from '@sotto/provisioning/commands/output.ts'
import type { PathView } from '@sotto/provisioning/registry/view.ts'
import { Command } from 'commander'
import type { Health } from '#api/health.ts'

export function statusCommand(output: Output): Command {
  return new Command('status')
    .description('what runs, and how it is')
    .option('--state <dir>', 'state directory')
    .option('--check', 'end with 1 unless the gateway answers: for what watches it')
    .option('--json', 'print the result as JSON')
    .action(async (options: { state?: string; check?: boolean }) => {
      const { openState } = await import('@sotto/provisioning/state.ts')
      const { openDatabase } = await import('@sotto/provisioning/database.ts')
      const { readSetting } = await import('@sotto/provisioning/postgres/setting.ts')
      const { requireNetwork } = await import('@sotto/provisioning/registry/network.ts')
      const { viewDevices } = await import('@sotto/provisioning/registry/view.ts')
      const { readPeers } = await import('@sotto/provisioning/wireguard/interface.ts')
      const { readRunning } = await import('#announcement.ts')
      const state = openState(options.state)
      const database = await openDatabase(state.database)
      try {
        const network = await requireNetwork(database)
        const setting = await readSetting(state.directory)
        const devices = await viewDevices(database)
        const peers = await readPeers(network.interface)
        const online = devices.filter(({ state: how }) => how === 'online')
        const paths = devices.flatMap(({ name, paths: own }) =>
          own.map((path) => ({ device: name, ...path })),
        )
        const running = await readRunning(state)
        const health = running && (await askHealth(state, running.origins[0] ?? ''))
        const data = {
          running: running !== undefined,
          origins: running?.origins ?? [],
          interface: { name: network.interface, up: peers !== undefined },
          network: { range4: network.range4, range6: network.range6, endpoint: network.endpoint },
          devices: { total: devices.length, online: online.length },
          paths,
          engines: health?.engines ?? null,
          troubles: health?.troubles ?? [],
          ...(health?.valkey && { valkey: health.valkey, neighbours: health.neighbours ?? 0 }),
          database: setting?.where ?? null,
        }
        if (options.check && health === undefined) process.exitCode = 1
        output.result(data, render(data, state.directory))
      } finally {
        await database.destroy()
      }
    })
}

type State = import('@sotto/provisioning/state.ts').State

/** Undefined where the gateway does not answer in time. */
async function askHealth(state: State, origin: string): Promise<Health | undefined> {
  const { Agent, request } = await import('undici')
  const { health } = await import('#api/health.ts')
  const { trustedRoots } = await import('@sotto/certs/rollover.ts')
  const dispatcher = new Agent({
    connect: { ca: await trustedRoots(state.certs), timeout: 2_000 },
  })
  try {
    const { body } = await request(`${origin}/health`, {
      dispatcher,
      headersTimeout: 2_000,
      bodyTimeout: 2_000,
    })
    return health.parse(await body.json())
  } catch {
    return undefined
  } finally {
    await dispatcher.close()
  }
}

interface Status {
  readonly running: boolean
  readonly origins: readonly string[]
  readonly interface: { readonly name: string; readonly up: boolean }
  readonly network: { readonly range4: string; readonly range6: string; readonly endpoint: string | null }
  readonly devices: { readonly total: number; readonly online: number }
  readonly paths: readonly (PathView & { readonly device: string })[]
  readonly engines: Health['engines'] | null
  readonly troubles: Health['troubles']
  /** Left out where there is none, or the gateway does not say. */
  readonly valkey?: Health['valkey']
  readonly neighbours?: number
  /** Where PostgreSQL is; null for SQLite. */
  readonly database: string | null
}

const valkeyText = {
  ready: 'ready: limits and budgets are counted there',
  away: 'away: whoever has limits is refused until it is back (./sotto doctor)',
} as const

function render(status: Status, directory: string): string {
  const engine = (state: { kind: string; ready: boolean } | undefined) =>
    state === undefined ? 'unknown' : `${state.kind}${state.ready ? '' : ', not ready'}`
  return [
    `Gateway    ${status.running ? status.origins.join('  ') || 'starting' : 'stopped: npm start'}`,
    `Interface  ${status.interface.name}, ${status.interface.up ? 'up' : 'down'}`,
    `Network    ${status.network.range4}  ${status.network.range6}`,
    `Endpoint   ${status.network.endpoint ?? 'unknown: start with --endpoint HOST'}`,
    `Devices    ${status.devices.total}, ${status.devices.online} online`,
    ...status.paths.map(
      ({ device, peer, state, reason }, at) =>
        `${at === 0 ? 'Paths     ' : '          '} ${device} → ${peer}: ${state}${reason === null ? '' : `, ${reason}`}`,
    ),
    `Ollama     ${engine(status.engines?.chat)}`,
    `Whisper    ${engine(status.engines?.transcription)}`,
    ...(status.valkey
      ? [
          `Valkey     ${valkeyText[status.valkey]}`,
          `Neighbours ${status.neighbours === 0 ? 'none' : `${status.neighbours} other gateways`}`,
        ]
      : []),
    `State      ${directory}${status.database === null ? '' : `, PostgreSQL at ${status.database}`}`,
    ...status.troubles.map(
      ({ over, message, remedy }) =>
        `\n${over ? '·' : '✘'} ${message}${remedy === '' ? '' : `\n  → ${remedy}`}`,
    ),
  ].join('\n')
}
