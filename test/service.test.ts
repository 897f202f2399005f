/** The gateway as the service's unit has it: no root process, one capability, a system that it can't write to. */
import { chmod, chown, link, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gatewayUnit, type UnitWish } from '@sotto/gateway/daemon/unit.ts'
import { giveTo } from '@sotto/provisioning/owner.ts'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  joinOverlay,
  startGateway,
  startStandIn,
  temporaryDirectory,
  type RunningGateway,
} from './lab/gateway.ts'
import { createLab, type Host, type Lab } from './lab/lab.ts'
import { sandboxed, serviceUser, settings } from './lab/sandbox.ts'

const root = join(import.meta.dirname, '..')
/** CAP_NET_ADMIN, as proc(5) writes sets of capabilities. */
const netAdmin = '0000000000001000'

const wish: UnitWish = {
  program: [process.execPath, join(root, 'sotto.ts')],
  state: '/var/lib/sotto',
  options: ['--port', '8443'],
  reads: [],
  wireguard: 'wireguard-go',
  lowPort: false,
}

describe('the unit', () => {
  it.each(['kernel', 'wireguard-go'] as const)(
    'is one that systemd understands and calls well closed, with WireGuard of %s',
    async (wireguard) => {
      const folder = await temporaryDirectory()
      const file = join(folder.path, 'sotto.service')
      await writeFile(file, gatewayUnit({ ...wish, wireguard }))
      const verified = await execa('systemd-analyze', ['verify', file], { all: true, reject: false })
      expect([verified.exitCode, verified.all]).toEqual([0, ''])
      // 0 is closed and 10 is open; --threshold is in tenths.
      const rated = await execa('systemd-analyze', ['security', '--offline=true', '--threshold=22', file], {
        reject: false,
      })
      expect(rated.exitCode, rated.stdout.split('\n').at(-1)).toBe(0)
      await folder.remove()
    },
  )
})

describe('a state directory that changes hands', () => {
  it('gives away nothing that is outside, whatever its owner put there', async () => {
    const folder = await temporaryDirectory()
    const at = (name: string) => join(folder.path, name)
    await mkdir(at('state/certs'), { recursive: true })
    await mkdir(at('outside'))
    for (const name of ['state/certs/root.key', 'outside/shadow', 'outside/linked'])
      await writeFile(at(name), '')
    await symlink(at('outside'), at('state/folder'))
    await symlink(at('outside/shadow'), at('state/file'))
    await link(at('outside/linked'), at('state/hard'))
    expect(giveTo(at('state'), { uid: serviceUser, gid: serviceUser })).toBe(3)
    const owner = async (name: string) => (await stat(at(name))).uid
    expect(await Promise.all(['state', 'state/certs', 'state/certs/root.key'].map(owner))).toEqual(
      Array.from({ length: 3 }, () => serviceUser),
    )
    expect(await Promise.all(['outside', 'outside/shadow', 'outside/linked'].map(owner))).toEqual([0, 0, 0])
    await folder.remove()
  })
})

describe('the container', () => {
  it('gives a user that is not root the one capability, as its Containerfile has it', async () => {
    const containerfile = await readFile(join(root, 'Containerfile'), 'utf8')
    const [, handing = ''] = /with-net-admin (--inh-caps.*) -- node/.exec(containerfile) ?? []
    const folder = await temporaryDirectory()
    const program = join(folder.path, 'with-net-admin')
    await chmod(folder.path, 0o755)
    await execa('cp', ['/usr/bin/setpriv', program])
    await execa('setcap', ['cap_net_admin=ep', program])
    // As an engine starts it: nothing but the bounding set of `cap_drop` and `cap_add`.
    const { stdout } = await execa('setpriv', [
      `--reuid=${serviceUser}`,
      `--regid=${serviceUser}`,
      '--clear-groups',
      '--bounding-set=-all,+net_admin',
      program,
      ...handing.split(' '),
      '--',
      'cat',
      '/proc/self/status',
    ])
    for (const set of ['Prm', 'Eff', 'Bnd', 'Amb']) expect(stdout).toContain(`Cap${set}:\t${netAdmin}`)
    expect(stdout).toContain(`Uid:\t${serviceUser}\t${serviceUser}`)
    await folder.remove()
  })
})

describe('the gateway as a service', () => {
  let lab: Lab
  let service: Host
  let gateway: RunningGateway
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  const closers: (() => Promise<unknown>)[] = []
  const at = (name: string) => join(folder.path, name)
  const options = ['--endpoint', '192.0.2.1', '--admin', 'ada', '--no-first-device']
  /** As an admin runs it on the service's machine: root, beside it. */
  const asRoot = (...args: string[]) =>
    execa(
      'nsenter',
      [
        '-t',
        String(gateway.process.pid),
        '--net',
        '--mount',
        process.execPath,
        join(root, 'sotto.ts'),
        ...args,
        '--state',
        gateway.state,
      ],
      { reject: false },
    )
  const told = () => readFile(at('told'), 'utf8').catch(() => '')

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    await chmod(folder.path, 0o755)
    for (const name of ['state', 'stage']) await mkdir(at(name))
    await chown(at('state'), serviceUser, serviceUser)
    const systemd = execa(
      'perl',
      [
        '-MIO::Socket::UNIX',
        '-e',
        'my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die; chmod 0777, $ARGV[0]; ' +
          'open(my $o, ">>", $ARGV[1]); $o->autoflush(1); while (defined recv($s, my $m, 4096, 0)) { print $o "$m\n" }',
        at('notify'),
        at('told'),
      ],
      { reject: false },
    )
    closers.push(async () => {
      systemd.kill()
      await systemd
    })
    const ollama = await startStandIn(lab.hub, 'ollama')
    closers.push(ollama.stop)
    options.push('--ollama', ollama.url)
    await mkdir(at('bin'))
    await writeFile(at('bin/wg'), lingering('wg', at('linger')), { mode: 0o755 })
    const unit = sandboxed(lab.hub, gatewayUnit({ ...wish, state: at('state') }), at('stage'), at('notify'))
    service = {
      ...unit,
      start: (file, args, wishes) =>
        unit.start('env', [`PATH=${at('bin')}:${process.env.PATH}`, file, ...args], wishes),
    }
    gateway = await startGateway(service, at('state'), ...options)
    closers.push(() => gateway.stop())
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  it('says to systemd that it serves, and shows nobody’s code in its log', async () => {
    await expect.poll(told).toContain('READY=1')
    expect(await told()).toContain(`STATUS=Serving ${gateway.origins[0]}`)
    expect(gateway.overlay).toHaveProperty('implementation')
    expect(gateway.firstDevice).toBeUndefined()
  })

  it('serves a device, which root adds beside it', async () => {
    const added = await asRoot('device', 'add', 'phone', '--json')
    expect(added.stderr).toBe('')
    const { config, device } = JSON.parse(added.stdout)
    expect(device.person).toBe('ada')
    await joinOverlay(lab.device, folder.path, config)
    await execa('cp', [`${gateway.state}/certs/root.crt`, at('root.crt')])
    const [origin = ''] = gateway.origins
    const ask = async (path: string) =>
      (await lab.device.run('curl', '-sS', '--max-time', '5', '--cacert', at('root.crt'), origin + path))
        .stdout
    await expect.poll(() => ask('/healthz'), { timeout: 20_000 }).toBe('ok')
    expect(JSON.parse(await ask('/api/tags'))).toHaveProperty('models')
    const states = async () => {
      const { stdout } = await asRoot('device', 'list', '--json')
      return JSON.parse(stdout).devices.map(({ name, state }: { name: string; state: string }) => [
        name,
        state,
      ])
    }
    await expect.poll(states, { timeout: 20_000 }).toEqual([['phone', 'online']])
  })

  it('has no process of root’s, and none that may more than the unit says', async () => {
    const seen = new Map<string, string>()
    const look = async (): Promise<string[]> => {
      for (const one of await family(gateway.process.pid ?? 0)) {
        const rights = ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => one.field(`Cap${set}`))
        seen.set(
          one.field('Name'),
          [one.field('Uid'), one.field('Gid'), ...rights, one.field('NoNewPrivs')].join(' '),
        )
      }
      return [...seen.keys()]
    }
    // `wg` comes and goes with each look at the peers, in a few milliseconds.
    await writeFile(at('linger'), '')
    await expect.poll(look, { timeout: 30_000 }).toContain('wg')
    await rm(at('linger'))
    expect([...seen.keys()]).toContain('wireguard-go')
    const four = Array.from({ length: 4 }, () => serviceUser).join('\t')
    for (const [name, rights] of seen)
      expect(rights, name).toBe([four, four, ...Array.from({ length: 5 }, () => netAdmin), '1'].join(' '))
    const mounts = await readFile(`/proc/${gateway.process.pid}/mounts`, 'utf8')
    expect(mounts.split('\n').findLast((line) => line.split(' ')[1] === '/')).toMatch(/ ro[, ]/)
  })

  it('forwards between devices, which is a setting of the kernel’s', async () => {
    const name = (await lab.hub.run('ls', '/sys/class/net')).stdout
      .split(/\s+/)
      .find((one) => one.startsWith('sotto'))
    const { stdout } = await lab.hub.run('cat', `/proc/sys/net/ipv4/conf/${name}/forwarding`)
    expect(stdout).toBe('1')
  })

  it('can read what root made beside it, after a crash of its own too', async () => {
    for (const command of [
      ['key', 'add', 'script'],
      ['person', 'add', 'bob'],
      ['usage'],
      ['status', '--check', '--json'],
      ['cert', 'renew'],
      ['doctor', '--json'],
    ]) {
      const { exitCode, stderr } = await asRoot(...command)
      expect(stderr, command.join(' ')).not.toContain('✘')
      if (command[0] === 'status') expect(exitCode).toBe(0)
    }
    const foreign = async () => {
      const names = await readdir(gateway.state, { recursive: true })
      const found: string[] = []
      for (const name of names) {
        const { uid } = await stat(join(gateway.state, name)).catch(() => ({ uid: serviceUser }))
        if (uid !== serviceUser) found.push(name)
      }
      return found
    }
    expect(await foreign()).toEqual([])
    gateway.process.kill('SIGKILL')
    await gateway.process
    // Here systemd would end what is left of its control group.
    for (const { pid } of await everyOf(serviceUser)) process.kill(pid, 'SIGKILL')
    await expect.poll(() => everyOf(serviceUser)).toEqual([])
    const people = await execa(process.execPath, [
      join(root, 'sotto.ts'),
      'person',
      'list',
      '--json',
      '--state',
      gateway.state,
    ])
    expect(people.stdout).toContain('bob')
    expect(await foreign()).toEqual([])
    gateway = await startGateway(service, at('state'), ...options)
    expect(gateway.overlay).toHaveProperty('implementation')
  })

  it('is not started by root in the same directory', async () => {
    await expect(startGateway(lab.hub, gateway.state, '--loopback')).rejects.toThrow(
      'belongs to another user',
    )
  })

  it('ends where it has no overlay, so that systemd tries again', async () => {
    const loopback = gatewayUnit({ ...wish, state: at('state'), wireguard: undefined })
    await gateway.stop()
    const powerless = sandboxed(lab.hub, loopback, at('stage'), at('notify'))
    await expect(startGateway(powerless, at('state'), ...options)).rejects.toThrow('CAP_NET_ADMIN')
    expect(settings(loopback, 'AmbientCapabilities')).toEqual([''])
  })
})

/** A script that runs a program, and stays for a second more where the file is there. */
function lingering(program: string, file: string): string {
  return `#!/bin/sh
/usr/bin/${program} "$@"
code=$?
if [ -e '${file}' ]; then sleep 1; fi
exit $code
`
}

interface Process {
  readonly pid: number
  /** Of its `/proc/PID/status`. */
  field(name: string): string
}

async function processes(): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const read = await Promise.all(
    pids.map(async (pid) => {
      const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
      const lines = new Map(
        text.split('\n').map((line) => [line.split(':')[0], line.replace(/^\w+:\s*/, '')]),
      )
      return { pid: Number(pid), field: (name: string) => lines.get(name) ?? '' }
    }),
  )
  // What has ended and waits for its parent has no rights any more.
  return read.filter(({ field }) => field('Name') !== '' && !field('State').startsWith('Z'))
}

/** A process and all that it started, and they. */
async function family(pid: number): Promise<Process[]> {
  const all = await processes()
  const found = all.filter((one) => one.pid === pid)
  for (const parent of found) found.push(...all.filter((one) => one.field('PPid') === String(parent.pid)))
  return found
}

async function everyOf(user: number): Promise<Process[]> {
  return (await processes()).filter(({ field }) => field('Uid').startsWith(`${user}\t`))
}
