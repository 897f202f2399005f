/** The programs that make an overlay, found or not, and how to run them with an error that says what failed. */
import { accessSync, constants, readFileSync } from 'node:fs'
import { execa, ExecaError } from 'execa'
import { Problem } from '../problem.ts'

/** WireGuard in the kernel, or a program that does the same over /dev/net/tun. */
export type Implementation = 'kernel' | 'wireguard-go'

/** Package of each program, as Debian, Fedora and Arch name them alike. */
const packages: Record<string, string> = {
  wg: 'wireguard-tools',
  ip: 'iproute2',
  nft: 'nftables',
  'wireguard-go': 'wireguard-go',
}

/** Runs a program without a shell; its failure is a `Problem` with what it printed. */
export async function run(file: string, args: readonly string[], input?: string): Promise<string> {
  try {
    const { stdout } = await execa(file, [...args], {
      ...(input === undefined ? {} : { input }),
      stripFinalNewline: false,
    })
    return stdout
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error
    throw failed(file, args, error)
  }
}

/** Throws a `Problem` where this process can't make an interface here, nor change the firewall. */
export function checkRights(): void {
  if (process.platform !== 'linux')
    throw new Problem(
      'no_wireguard',
      `WireGuard is set up by Sotto on Linux alone, and this is ${process.platform}.`,
      'Run the gateway on a Linux machine; devices may run any system.',
    )
  if (!mayAdministerNetwork(readFileSync('/proc/self/status', 'utf8')))
    throw new Problem(
      'no_net_admin',
      'Making a WireGuard interface takes root, or CAP_NET_ADMIN alone.',
      'Start it with `sudo npm start`, or as a service: sudo ./sotto service install',
    )
}

/**
 * Finds out how WireGuard can be had here. Throws a `Problem` that says why it can't and how to get it;
 * nothing on the machine is changed, except that a probe interface comes and goes.
 */
export async function findImplementation(): Promise<Implementation> {
  checkRights()
  const missing = ['wg', 'ip', 'nft'].filter((program) => !isInstalled(program))
  if (missing.length > 0) throw notInstalled(missing)
  if (await kernelHasWireGuard()) return 'kernel'
  if (!isInstalled('wireguard-go')) throw notInstalled(['wireguard-go'])
  return 'wireguard-go'
}

/**
 * Whether a process has CAP_NET_ADMIN, whoever its user is: root in a container may lack it, and a service has
 * it without being root. Source: proc(5), capabilities(7).
 *
 * @param status text of its `/proc/PID/status`
 * @internal
 */
export function mayAdministerNetwork(status: string): boolean {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  return (effective & (1n << 12n)) !== 0n
}

async function kernelHasWireGuard(): Promise<boolean> {
  const probe = `sotto-p${process.pid % 1_000_000}`
  const { failed: absent } = await execa('ip', ['link', 'add', 'dev', probe, 'type', 'wireguard'], {
    reject: false,
  })
  if (absent) return false
  await run('ip', ['link', 'delete', 'dev', probe])
  return true
}

function isInstalled(program: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']
  return folders.some((folder) => {
    try {
      accessSync(`${folder}/${program}`, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function notInstalled(programs: readonly string[]): Problem {
  const names = programs.map((program) => packages[program] ?? program).join(' ')
  const install = isInstalled('apt-get')
    ? 'apt-get install'
    : isInstalled('dnf')
      ? 'dnf install'
      : 'pacman -S'
  return new Problem('no_tools', `Not installed: ${programs.join(', ')}.`, `sudo ${install} ${names}`)
}

function failed(file: string, args: readonly string[], error: ExecaError): Problem {
  if (error.code === 'ENOENT') return notInstalled([file])
  const said = String(error.stderr ?? '').trim() || error.shortMessage
  return new Problem('tool_failed', `\`${[file, ...args].join(' ')}\` failed: ${said}`, '', error)
}
