/**
 * A small world: a hub, a device and a neighbour, each in a network namespace of its own, on one Ethernet
 * (192.0.2.0/24 and 2001:db8::/64, the ranges for documentation). Nothing in it reaches another network.
 */
import { execa, type Options, type ResultPromise } from 'execa'

export interface Host {
  readonly name: string
  /** Underlay addresses. */
  readonly address4: string
  readonly address6: string
  /** Runs a program there; one that fails is returned, not thrown. */
  run(
    file: string,
    ...args: string[]
  ): Promise<{ readonly exitCode: number | undefined; readonly stdout: string; readonly stderr: string }>
  /** Starts a program there. */
  start(file: string, args: readonly string[], options?: Options): ResultPromise
}

export interface Lab {
  readonly hub: Host
  readonly device: Host
  readonly neighbour: Host
  /** Another host on the same Ethernet. */
  addHost(role: string): Promise<Host>
  /**
   * A host on a network of its own behind a NAT, as a home router is: what comes from outside unasked is
   * dropped. A symmetric one gives each destination another, random port.
   */
  addBehindNat(role: string, nat?: { readonly symmetric?: boolean }): Promise<HostBehindNat>
  close(): Promise<void>
}

export interface HostBehindNat extends Host {
  readonly router: Host
}

/** Short, since an interface's name has 15 characters. */
const prefix = `st${process.pid % 100_000}`

export async function createLab(): Promise<Lab> {
  const lan = `${prefix}-lan`
  const names = ['hub', 'dev', 'nbr'].map((role) => `${prefix}-${role}`)
  const namespaces = [lan, ...names]
  await Promise.all(namespaces.map(addNamespace))
  await inside(lan, 'ip link add br0 type bridge')
  await inside(lan, 'ip link set br0 up')
  const [hub, device, neighbour] = await Promise.all(
    names.map((name, index) => addHost(lan, name, index + 1)),
  )
  if (!hub || !device || !neighbour) throw new Error('unreachable: three names give three hosts')
  let last = names.length
  const add = async (role: string): Promise<Host> => {
    const name = `${prefix}-${role}`
    namespaces.push(name)
    await addNamespace(name)
    last += 1
    return addHost(lan, name, last)
  }
  return {
    hub,
    device,
    neighbour,
    addHost: add,
    async addBehindNat(role, { symmetric = false } = {}) {
      const router = await add(`${role}r`)
      const name = `${prefix}-${role}`
      namespaces.push(name)
      await addNamespace(name)
      return { router, ...(await connectInside(router, name, last, symmetric)) }
    },
    async close() {
      // Programs that outlive their starter, as wireguard-go does, end with their namespace.
      for (const name of namespaces) {
        const { stdout } = await execa('ip', ['netns', 'pids', name], { reject: false })
        for (const pid of (stdout ?? '').split('\n').filter(Boolean)) kill(Number(pid))
        await execa('ip', ['netns', 'delete', name], { reject: false })
      }
    },
  }
}

async function addNamespace(name: string): Promise<void> {
  await execa('ip', ['netns', 'add', name])
  await inside(name, 'ip link set lo up')
}

async function addHost(lan: string, name: string, number: number): Promise<Host> {
  const address4 = `192.0.2.${number}`
  const address6 = `2001:db8::${number}`
  const port = `p${number}`
  await inside(lan, `ip link add ${port} type veth peer name eth0 netns ${name}`)
  await inside(lan, `ip link set ${port} master br0 up`)
  await inside(name, `ip address add ${address4}/24 dev eth0`)
  await inside(name, `ip address add ${address6}/64 dev eth0 nodad`)
  await inside(name, 'ip link set eth0 up')
  return hostOf(name, address4, address6)
}

async function connectInside(router: Host, name: string, number: number, symmetric: boolean): Promise<Host> {
  const [gateway, address4] = [`172.31.${number}.1`, `172.31.${number}.2`]
  await inside(router.name, `ip link add inside type veth peer name eth0 netns ${name}`)
  await inside(router.name, `ip address add ${gateway}/24 dev inside`)
  await inside(router.name, 'ip link set inside up')
  await inside(name, `ip address add ${address4}/24 dev eth0`)
  await inside(name, 'ip link set eth0 up')
  await inside(name, `ip route add default via ${gateway}`)
  await inside(router.name, 'sysctl -qw net.ipv4.ip_forward=1')
  const rules = `table ip nat {
  chain out { type nat hook postrouting priority srcnat; policy accept; oifname "eth0" masquerade ${symmetric ? 'fully-random' : ''}; }
  chain through { type filter hook forward priority filter; policy accept; iifname "eth0" ct state new drop; }
  chain self { type filter hook input priority filter; policy accept; iifname "eth0" meta l4proto udp drop; }
}`
  await execa({ input: rules })`ip netns exec ${router.name} nft -f -`
  return hostOf(name, address4, '')
}

function hostOf(name: string, address4: string, address6: string): Host {
  const start = (file: string, args: readonly string[], options: Options = {}) =>
    execa('ip', ['netns', 'exec', name, file, ...args], { reject: false, ...options })
  return {
    name,
    address4,
    address6,
    start,
    run: async (file, ...args) => {
      const { exitCode, stdout, stderr } = await execa('ip', ['netns', 'exec', name, file, ...args], {
        reject: false,
        timeout: 20_000,
      })
      return { exitCode, stdout, stderr }
    },
  }
}

async function inside(namespace: string, command: string): Promise<void> {
  await execa('ip', ['netns', 'exec', namespace, ...command.split(' ')])
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}
