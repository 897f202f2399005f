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
  close(): Promise<void>
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
  return {
    hub,
    device,
    neighbour,
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
