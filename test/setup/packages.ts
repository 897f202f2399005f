/** What the tests across packages need of the machine, before any of them runs: found, installed, or said. */
import { existsSync } from 'node:fs'
import { execa } from 'execa'

/** Debian packages, each with the file that shows it is there. */
const needed: Record<string, string> = {
  'wireguard-tools': '/usr/bin/wg',
  'wireguard-go': '/usr/bin/wireguard-go',
  nftables: '/usr/sbin/nft',
  iproute2: '/usr/sbin/ip',
  'iputils-ping': '/usr/bin/ping',
  openssl: '/usr/bin/openssl',
  procps: '/usr/sbin/sysctl',
  curl: '/usr/bin/curl',
  iperf3: '/usr/bin/iperf3',
  'espeak-ng': '/usr/bin/espeak-ng',
  sox: '/usr/bin/sox',
  pocketsphinx: '/usr/bin/pocketsphinx_continuous',
  'pocketsphinx-en-us': '/usr/share/pocketsphinx/model/en-us/cmudict-en-us.dict',
  chromium: '/usr/bin/chromium',
  'network-manager': '/usr/bin/nmcli',
  dbus: '/usr/bin/dbus-daemon',
  'libnss3-tools': '/usr/bin/certutil',
  'libcap2-bin': '/usr/sbin/setcap',
  'redis-server': '/usr/bin/redis-server',
  postgresql: '/usr/lib/postgresql',
  // To check the service's unit; nothing of it is started.
  systemd: '/usr/bin/systemd-analyze',
}

/** Vitest calls it once. Throws with the command that helps; a test is never skipped for want of a program. */
export default async function setup(): Promise<void> {
  const missing = Object.keys(needed).filter((name) => !existsSync(needed[name] ?? ''))
  const byHand = `sudo apt-get install --no-install-recommends ${missing.join(' ')}`
  if (process.platform !== 'linux') throw new Error('The tests make network namespaces: run them on Linux.')
  if (process.getuid?.() !== 0)
    throw new Error(
      `The tests make network namespaces: run them as root.${missing.length > 0 ? ` First: ${byHand}` : ''}`,
    )
  if (missing.length > 0) await install(missing, byHand)
  if (!existsSync('/dev/net/tun')) throw new Error('There is no /dev/net/tun: sudo modprobe tun')
}

async function install(missing: readonly string[], byHand: string): Promise<void> {
  if (!existsSync('/usr/bin/apt-get'))
    throw new Error(
      `The tests need these Debian packages, or what your system calls them: ${missing.join(', ')}`,
    )
  process.stderr.write(`· Installing Debian packages that the tests need: ${missing.join(', ')}\n`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const options = { env, stdin: 'ignore', reject: false, all: true } as const
  await execa('apt-get', ['update'], options)
  const { failed, all } = await execa(
    'apt-get',
    ['install', '-y', '--no-install-recommends', ...missing],
    options,
  )
  if (failed) throw new Error(`${all}\nThat failed. By hand: ${byHand}`)
}
