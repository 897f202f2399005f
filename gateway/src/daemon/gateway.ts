/** The gateway as a service of this machine: put there, looked at, taken away. Linux with systemd. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { giveTo, ownerOf } from '@sotto/provisioning/owner.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import { isServed, makeState, openState, statePaths, type State } from '@sotto/provisioning/state.ts'
import { findImplementation } from '@sotto/provisioning/wireguard/tools.ts'
import { execa } from 'execa'
import type { GatewayConfig } from '#config.ts'
import { checkReach, ensureAccount } from './account.ts'
import { hasLowPort, optionsAgain } from './options.ts'
import { here, installService, runAll, uninstallService } from './plan.ts'
import { commandLine, startUnit, stopUnit } from './systemd.ts'
import { account, capabilities, gatewayUnit, stateOf, unitFile, unitName, type UnitWish } from './unit.ts'

const systemctl = ['systemctl']

export interface Installed {
  readonly state: string
  readonly capabilities: readonly string[]
  /** Files and directories of the state that were another's before. */
  readonly given: number
  readonly failures: readonly string[]
}

/**
 * Throws a `Problem` before anything has changed, where it can.
 *
 * @param program Node and `sotto.ts`, absolute
 * @param web builds the web app where it is stale: the service can't write there
 */
export async function installGateway(
  config: GatewayConfig,
  program: readonly [string, string],
  web: () => Promise<unknown>,
): Promise<Installed> {
  checkSystem([...program, 'up', ...optionsAgain(config)])
  const wish: UnitWish = {
    program,
    state: statePaths(config.state).directory,
    options: optionsAgain(config),
    reads: config.config === undefined ? [] : [resolve(config.config)],
    wireguard: config.loopback ? undefined : await findImplementation(),
    lowPort: hasLowPort(config),
  }
  checkPlaces(wish)
  await web()
  const owner = await ensureAccount(account)
  await checkReach(account, owner, program, wish.reads)
  const state = await ownState(wish.state)
  const given = giveTo(state.directory, owner)
  const failures = await installService({
    files: [{ path: unitFile, text: gatewayUnit(wish), mode: 0o644 }],
    start: startUnit(systemctl, unitName),
  })
  return { state: state.directory, capabilities: capabilities(wish), given, failures }
}

/** Takes the service away. What it served from is root's again, and else as it was. */
export async function uninstallGateway(): Promise<{
  readonly state: string
  readonly failures: readonly string[]
}> {
  checkSystem([])
  const state = await installedState()
  const failures = await uninstallService({
    files: [{ path: unitFile, text: '', mode: 0o644 }],
    stop: stopUnit(systemctl, unitName),
  })
  if (existsSync(state)) giveTo(state, { uid: 0, gid: 0 })
  return { state, failures }
}

export interface ServiceStatus {
  readonly installed: boolean
  readonly state: string | null
  /** Of systemd: `active`, `activating`, `failed`, … */
  readonly active: string | null
  readonly since: string | null
  readonly restarts: number | null
  /** What it said last: `Serving https://…` */
  readonly says: string | null
}

export async function gatewayService(): Promise<ServiceStatus> {
  if (!existsSync(unitFile))
    return { installed: false, state: null, active: null, since: null, restarts: null, says: null }
  const asked = ['ActiveState', 'ActiveEnterTimestamp', 'NRestarts', 'StatusText']
  const { stdout } = await execa('systemctl', ['show', unitName, `--property=${asked.join(',')}`], {
    reject: false,
  })
  const said = new Map(
    (stdout ?? '').split('\n').map((line) => [line.split('=')[0], line.replace(/^\w+=/, '')]),
  )
  const read = (name: string): string | null => said.get(name) || null
  return {
    installed: true,
    state: await installedState(),
    active: read('ActiveState'),
    since: read('ActiveEnterTimestamp'),
    restarts: read('NRestarts') === null ? null : Number(read('NRestarts')),
    says: read('StatusText'),
  }
}

async function installedState(): Promise<string> {
  const unit = await readFile(unitFile, 'utf8').catch(() => '')
  const state = stateOf(unit)
  if (state !== undefined) return state
  throw new Problem('service_missing', 'The gateway is no service here.', 'sudo ./sotto service install')
}

/** @param command what a service of another kind would run */
function checkSystem(command: readonly string[]): void {
  const { system, root } = here()
  if (system === 'linux' && existsSync('/run/systemd/system')) {
    if (root) return
    throw new Problem(
      'service_root',
      'A service of the machine is root’s to install.',
      'sudo ./sotto service …',
    )
  }
  throw new Problem(
    'service_system',
    system === 'linux'
      ? 'The gateway’s service is one of systemd, which does not run this machine.'
      : `The gateway’s service is for Linux with systemd, and this is ${system}.`,
    system === 'linux'
      ? `Let what starts services here run this, as a user with CAP_NET_ADMIN: ${commandLine(command)}`
      : `There the gateway serves its own machine alone: ${commandLine([...command, '--loopback'])}, from launchd or the task scheduler. Or run it on Linux.`,
  )
}

/** Before a user is made for it. */
function checkPlaces({ program: [, script], state }: UnitWish): void {
  const lost = [dirname(script), state].find((path) => /^\/(?:var\/)?tmp\//.test(path))
  if (lost !== undefined)
    throw new Problem(
      'service_place',
      `${lost} is emptied when the machine starts, and the service has a /tmp of its own.`,
      'Keep Sotto in /opt/sotto, and its state in /var/lib/sotto.',
    )
}

/** The state directory, made where there is none and with no gateway at work in it. */
async function ownState(directory: string): Promise<State> {
  const state =
    existsSync(directory) && ownerOf(directory).uid !== 0 ? openState(directory) : await makeState(directory)
  // That of the service takes up what changed.
  if (isServed(state)) await runAll([[...systemctl, 'stop', unitName]])
  if (isServed(state))
    throw new Problem(
      'state_in_use',
      `A gateway serves from ${state.directory} now.`,
      'Stop it, then install the service: it goes on where that one was.',
    )
  return state
}
