/** A WireGuard interface: raised, changed in place, read, lowered. Only peers that change are touched. */
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { execa } from 'execa'
import { publicKeyOf } from '#overlay/keys.ts'
import { Problem } from '../problem.ts'
import { memoryDirectory, workName } from '../state.ts'
import { interfaceConfig, mtu, peersConfig, type Peer } from './config.ts'
import { isSo, parsePeers, parseSettings, type LivePeer } from './peers.ts'
import { findImplementation, run, type Implementation } from './tools.ts'

/** What an interface is made of. */
export interface Interface {
  readonly name: string
  readonly privateKey: string
  /** UDP; left out, any. */
  readonly listenPort?: number
  /** CIDR, of either family. */
  readonly addresses: readonly string[]
  /** For the short-lived 0600 files that `wg` reads. */
  readonly directory: string
}

export interface Raised {
  readonly implementation: Implementation
  /** Whether it was made just now, so that its counters begin at zero; else a crash had left it. */
  readonly made: boolean
}

/** Raises the interface with these peers, or takes over the one that a crash left behind. */
export async function raise(wanted: Interface, peers: readonly Peer[]): Promise<Raised> {
  const implementation = await findImplementation()
  const publicKey = publicKeyOf(wanted.privateKey)
  const left = await livePublicKey(wanted.name)
  if (left === undefined) await make(wanted.name, implementation)
  else if (left !== publicKey && left !== null) throw taken(wanted.name)
  await configure(wanted, peers, left === publicKey ? 'syncconf' : 'setconf')
  const with6 = await allowIpv6(wanted.name)
  for (const address of wanted.addresses)
    if (!address.includes(':')) await run('ip', ['address', 'replace', address, 'dev', wanted.name])
    // Without nodad the address can't be bound for a second, while the kernel looks for a double.
    else if (with6) await run('ip', ['-6', 'address', 'replace', address, 'dev', wanted.name, 'nodad'])
  await run('ip', ['link', 'set', 'dev', wanted.name, 'mtu', String(mtu), 'up'])
  return { implementation, made: left !== publicKey }
}

/**
 * Makes the live peers equal to these, and touches none that is so already: `wg syncconf` takes each peer's allowed
 * IPs away and gives them back, and what comes in between is lost.
 */
export async function synchronise(wanted: Interface, peers: readonly Peer[]): Promise<void> {
  const live = parseSettings(await run('wg', ['show', wanted.name, 'dump']))
  if (live.privateKey !== wanted.privateKey || live.listenPort !== (wanted.listenPort ?? live.listenPort))
    return configure(wanted, peers, 'syncconf')
  const keys = new Set(peers.map(({ publicKey }) => publicKey))
  const gone = [...live.peers.keys()].filter((key) => !keys.has(key))
  // First: an address may go from one that is gone to one that is new.
  if (gone.length > 0)
    await run('wg', ['set', wanted.name, ...gone.flatMap((key) => ['peer', key, 'remove'])])
  const changed = peers.filter((peer) => !isSo(live.peers.get(peer.publicKey), peer))
  if (changed.length > 0)
    await withFile(wanted, peersConfig(changed), (file) => run('wg', ['addconf', wanted.name, file]))
}

/** The live peers; undefined where the interface is gone. */
export async function readPeers(name: string): Promise<LivePeer[] | undefined> {
  const { failed, stdout } = await execa('wg', ['show', name, 'dump'], { reject: false })
  return failed ? undefined : parsePeers(stdout)
}

/**
 * Sets one peer up anew, as if it had not been there: a handshake goes out at once where it has a keepalive.
 * The others are not touched.
 */
export async function renewPeer(
  { name, directory }: Pick<Interface, 'name' | 'directory'>,
  { publicKey, presharedKey, endpoint, allowedIps, keepalive }: Peer,
): Promise<void> {
  await withFile({ directory }, presharedKey, async (file) => {
    await removePeer(name, publicKey)
    const settings = ['preshared-key', file, 'allowed-ips', allowedIps.join(',')]
    if (endpoint !== undefined) settings.push('endpoint', endpoint)
    if (keepalive !== undefined) settings.push('persistent-keepalive', String(keepalive))
    await run('wg', ['set', name, 'peer', publicKey, ...settings])
  })
}

/** A no-op for a peer that is not there. */
export async function removePeer(name: string, publicKey: string): Promise<void> {
  await run('wg', ['set', name, 'peer', publicKey, 'remove'])
}

/** Takes an interface away; a no-op where it is gone. */
export async function lower(name: string): Promise<void> {
  await execa('ip', ['link', 'delete', 'dev', name], { reject: false })
  // wireguard-go ends when its control socket is removed (its README).
  await rm(controlSocket(name), { force: true })
}

/** The first name of a row that neither an interface nor a control socket has: `sotto0`, `sotto1`, … */
export function freeName(stem: string): string {
  // wireguard-go's control sockets are one folder for all network namespaces of a machine.
  const isTaken = (name: string) => existsSync(`/sys/class/net/${name}`) || existsSync(controlSocket(name))
  for (let number = 0; ; number += 1) if (!isTaken(`${stem}${number}`)) return `${stem}${number}`
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
    if (existsSync(`/sys/class/net/${name}`) && (await answers(controlSocket(name)))) return
    await pause(20)
  }
  throw new Problem(
    'wireguard_go',
    `wireguard-go did not make the interface ${name}.`,
    'Check that /dev/net/tun exists: `sudo modprobe tun`. See why with: wireguard-go -f ' + name,
  )
}

/** One that was killed leaves its socket behind: it is there, and refuses. */
function answers(path: string): Promise<boolean> {
  const socket = connect(path)
  return new Promise<boolean>((settle) => {
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  }).finally(() => socket.destroy())
}

async function configure(
  { name, directory, ...self }: Interface,
  peers: readonly Peer[],
  how: 'setconf' | 'syncconf',
): Promise<void> {
  await withFile({ directory }, interfaceConfig(self, peers), (file) => run('wg', [how, name, file]))
}

/** A 0600 file while a command reads it, not /dev/stdin: Node's pipe is a socket, which can't be opened by path. */
async function withFile(
  { directory }: Pick<Interface, 'directory'>,
  text: string,
  task: (file: string) => Promise<unknown>,
): Promise<void> {
  // A disk that takes nothing must not keep an interface down.
  const name = workName('sotto-wg')
  const folder = await mkdtemp(join(memoryDirectory, name)).catch(() => mkdtemp(join(directory, name)))
  try {
    const file = join(folder, 'settings')
    await writeFile(file, text, { mode: 0o600, flag: 'wx' })
    await task(file)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Public key of an interface; undefined where there is none, null where it has no key yet. */
async function livePublicKey(name: string): Promise<string | null | undefined> {
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
