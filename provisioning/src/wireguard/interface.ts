/** The hub's interface: raised, changed in place, read, lowered. Peers change by `wg syncconf` alone. */
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { execa } from 'execa'
import { hubAddresses } from '#overlay/addresses.ts'
import type { Device } from '#registry/device.ts'
import type { Network } from '#registry/network.ts'
import { Problem } from '../problem.ts'
import { guardRules, guardTable, hubConfig, mtu } from './config.ts'
import { parsePeers, type LivePeer } from './peers.ts'
import { findImplementation, run, type Implementation } from './tools.ts'

/** What an interface is made of. */
export interface Hub {
  readonly network: Network
  readonly privateKey: string
  /** For the short-lived 0600 files that `wg` reads. */
  readonly directory: string
}

/** Raises the interface with these devices, or takes over the one that a crash left behind. */
export async function raise(hub: Hub, devices: readonly Device[]): Promise<Implementation> {
  const { network } = hub
  const implementation = await findImplementation()
  // The guard stands before there is anything to guard.
  await run('nft', ['-f', '-'], guardRules(network))
  const left = await publicKeyOf(network.interface)
  if (left === undefined) await make(network.interface, implementation)
  else if (left !== network.publicKey && left !== null) throw taken(network.interface)
  await configure(hub, devices, left === network.publicKey ? 'syncconf' : 'setconf')
  const { address4 } = hubAddresses(network)
  await run('ip', ['address', 'replace', `${address4}/${prefix(network.range4)}`, 'dev', network.interface])
  if (await allowIpv6(network.interface)) await addAddress6(network)
  await run('ip', ['link', 'set', 'dev', network.interface, 'mtu', String(mtu), 'up'])
  return implementation
}

/** Makes the live peers equal to these devices. Sessions of peers that stay are not disturbed. */
export async function synchronise(hub: Hub, devices: readonly Device[]): Promise<void> {
  await configure(hub, devices, 'syncconf')
}

/** The live peers; undefined where the interface is gone. */
export async function readPeers(name: string): Promise<LivePeer[] | undefined> {
  const { failed, stdout } = await execa('wg', ['show', name, 'dump'], { reject: false })
  return failed ? undefined : parsePeers(stdout)
}

/** Takes the interface and its guard away; a no-op where they are gone. */
export async function lower(network: Network): Promise<void> {
  await execa('ip', ['link', 'delete', 'dev', network.interface], { reject: false })
  // wireguard-go ends when its control socket is removed (its README).
  await rm(controlSocket(network.interface), { force: true })
  await execa('nft', ['delete', 'table', 'inet', guardTable(network)], { reject: false })
}

/** Also where a machine has IPv6 switched off for its other interfaces; false where its kernel has none. */
async function allowIpv6(name: string): Promise<boolean> {
  const setting = `/proc/sys/net/ipv6/conf/${name}/disable_ipv6`
  if (!existsSync(setting)) return false
  return writeFile(setting, '0').then(
    () => true,
    // A container may show the setting and not let it be changed.
    () => readFileSync(setting, 'utf8').trim() === '0',
  )
}

async function addAddress6(network: Network): Promise<void> {
  const address = `${hubAddresses(network).address6}/${prefix(network.range6)}`
  // Without nodad the address can't be bound for a second, while the kernel looks for a double.
  await run('ip', ['-6', 'address', 'replace', address, 'dev', network.interface, 'nodad'])
}

async function make(name: string, implementation: Implementation): Promise<void> {
  if (implementation === 'kernel') {
    await run('ip', ['link', 'add', 'dev', name, 'type', 'wireguard'])
    return
  }
  // In the foreground form with every stream detached: it must outlive a crash of ours and hold no pipe.
  const { nodeChildProcess: child } = execa('wireguard-go', ['-f', name], {
    detached: true,
    stdio: 'ignore',
    cleanup: false,
    env: { WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: '1' },
    reject: false,
  })
  child.unref()
  for (let waited = 0; waited < 5_000; waited += 20) {
    if (child.exitCode !== null) break
    if (existsSync(controlSocket(name)) && existsSync(`/sys/class/net/${name}`)) return
    await pause(20)
  }
  throw new Problem(
    'wireguard_go',
    `wireguard-go did not make the interface ${name}.`,
    'Check that /dev/net/tun exists: `sudo modprobe tun`. See why with: wireguard-go -f ' + name,
  )
}

async function configure(hub: Hub, devices: readonly Device[], how: 'setconf' | 'syncconf'): Promise<void> {
  // A file, not /dev/stdin: Node's pipe is a socket, which can't be opened by path.
  const folder = await mkdtemp(join(hub.directory, 'wg-'))
  try {
    const file = join(folder, 'hub.conf')
    await writeFile(file, hubConfig(hub.network, hub.privateKey, devices), { mode: 0o600, flag: 'wx' })
    await run('wg', [how, hub.network.interface, file])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Public key of an interface; undefined where there is none, null where it has no key yet. */
async function publicKeyOf(name: string): Promise<string | null | undefined> {
  if (!existsSync(`/sys/class/net/${name}`)) return undefined
  const { failed, stdout } = await execa('wg', ['show', name, 'public-key'], { reject: false })
  if (failed) throw taken(name)
  return stdout.trim() === '(none)' ? null : stdout.trim()
}

function taken(name: string): Problem {
  return new Problem(
    'interface_taken',
    `The interface ${name} exists and is not this network's.`,
    `Remove it if it is left over: sudo ip link delete ${name}`,
  )
}

function controlSocket(name: string): string {
  return `/var/run/wireguard/${name}.sock`
}

function prefix(range: string): string {
  return range.split('/')[1] ?? ''
}
