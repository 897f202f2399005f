/**
 * The gateway as a unit of systemd: a user of its own, no capability but what its overlay takes, and a system
 * that it can't write to. Source: systemd.exec(5), systemd.service(5).
 */
import { dirname } from 'node:path'
import { commandLine, unitPath } from './systemd.ts'

export const unitName = 'sotto.service'
export const unitFile = `/etc/systemd/system/${unitName}`
/** Of the service: a system user without a shell. */
export const account = 'sotto'
/** What systemd makes for it, and gives to its user. */
const ownState = '/var/lib/sotto'
/** What the sandbox shows empty, unless a path in it is named. */
const hidden = ['/home', '/root', '/run/user']

export interface UnitWish {
  /** Node and `sotto.ts`, absolute. */
  readonly program: readonly [string, string]
  /** Absolute. */
  readonly state: string
  /** Of `sotto up`, but for `--state`; no secret among them. */
  readonly options: readonly string[]
  /** Other files that it reads, absolute. */
  readonly reads: readonly string[]
  /** Undefined for one on loopback alone, which takes no capability at all. */
  readonly wireguard: 'kernel' | 'wireguard-go' | undefined
  /** Whether it listens on a TCP port below 1024. */
  readonly lowPort: boolean
}

/** Of a running unit, by which `status` and `uninstall` find its state directory again. */
export function stateOf(unit: string): string | undefined {
  return /^State=(.+)$/m.exec(unit)?.[1]
}

/** Names as `CapabilityBoundingSet=` takes them. */
export function capabilities({ wireguard, lowPort }: Pick<UnitWish, 'wireguard' | 'lowPort'>): string[] {
  return [...(wireguard === undefined ? [] : ['CAP_NET_ADMIN']), ...(lowPort ? ['CAP_NET_BIND_SERVICE'] : [])]
}

export function gatewayUnit(wish: UnitWish): string {
  const { program, state, options, wireguard } = wish
  const allowed = capabilities(wish).join(' ')
  return `[Unit]
Description=Sotto, a private AI gateway
Wants=network-online.target
After=network-online.target postgresql.service
# However often it ends, it is started again.
StartLimitIntervalSec=0

[Service]
Type=notify
# systemd-notify is a process of its own.
NotifyAccess=all
ExecStart=${commandLine([...program, 'up', '--state', state, ...options])}
Environment=NODE_COMPILE_CACHE=/var/cache/sotto/compiled
# An arena of memory for each of a dozen threads is more than they use.
Environment=MALLOC_ARENA_MAX=2
Restart=always
RestartSec=5
# The first start makes an authority and may load models.
TimeoutStartSec=180
# Answers that are being given may end.
TimeoutStopSec=30
# The gateway first, which takes its interface down; then what is left.
KillMode=mixed
LimitNOFILE=65536
OOMPolicy=continue

User=${account}
Group=${account}
AmbientCapabilities=${allowed}
CapabilityBoundingSet=${allowed}
NoNewPrivileges=yes
SecureBits=noroot-locked
UMask=0077

${places(wish).join('\n')}
ProtectSystem=strict
PrivateTmp=yes
PrivateMounts=yes
${devices(wireguard).join('\n')}
# Forwarding between devices is a setting of the kernel's below /proc/sys/net: CAP_NET_ADMIN opens those alone.
ProtectKernelTunables=yes
ReadWritePaths=/proc/sys/net
ProtectProc=invisible
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
KeyringMode=private
LockPersonality=yes
# V8 writes the code that it runs.
MemoryDenyWriteExecute=no
# Netlink: what wg, ip and nft speak with the kernel.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
# Refused rather than killed: libraries ask for more than they need, and do without.
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target

[X-Sotto]
State=${state}
`
}

/** Where it writes, and what it sees of the places that are hidden from it. */
function places({ program, state, reads }: UnitWish): string[] {
  const seen = [...new Set([dirname(program[1]), program[0], ...reads])].filter(isHidden)
  return [
    'CacheDirectory=sotto',
    'CacheDirectoryMode=0700',
    ...(state === ownState
      ? ['StateDirectory=sotto', 'StateDirectoryMode=0700']
      : [`${isHidden(state) ? 'BindPaths' : 'ReadWritePaths'}=${unitPath(state)}`]),
    `ProtectHome=${[...seen, state].some(isHidden) ? 'tmpfs' : 'yes'}`,
    ...seen.map((path) => `BindReadOnlyPaths=${unitPath(path)}`),
  ]
}

function devices(wireguard: UnitWish['wireguard']): string[] {
  if (wireguard !== 'wireguard-go') return ['PrivateDevices=yes']
  return [
    'DevicePolicy=closed',
    'DeviceAllow=/dev/net/tun rw',
    '# Where wireguard-go has its control sockets, and wg looks for them; those of others stay.',
    'RuntimeDirectory=wireguard',
    'RuntimeDirectoryMode=0755',
    'RuntimeDirectoryPreserve=yes',
  ]
}

function isHidden(path: string): boolean {
  return hidden.some((place) => path.startsWith(`${place}/`))
}
