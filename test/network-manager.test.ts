/** NetworkManager itself takes a device's config: the real one, on a bus and a network of its own. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sotto, startGateway, temporaryDirectory, type RunningGateway } from './lab/gateway.ts'

describe('NetworkManager', () => {
  let gateway: RunningGateway
  let directory: string
  const closers: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    const folder = await temporaryDirectory()
    closers.push(folder.remove)
    directory = folder.path
    gateway = await startGateway(
      undefined,
      join(directory, 'state'),
      '--loopback',
      '--port',
      '0',
      '--ollama',
      'http://127.0.0.1:9',
      '--endpoint',
      'hub.example',
    )
    closers.push(gateway.stop)
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  it('imports it whole', async () => {
    const file = join(directory, 'phone.conf')
    const { stdout: added, stderr } = await sotto(
      'device',
      'add',
      'phone',
      '--out',
      file,
      '--state',
      gateway.state,
      '--json',
    )
    expect(stderr).toBe('')
    const { device } = JSON.parse(added)
    const script = `
set -e
mount -t tmpfs none /run
mount -t tmpfs none /var/lib/NetworkManager
mount -t tmpfs none /etc/NetworkManager
mkdir -p /run/dbus /etc/NetworkManager/system-connections
printf '[main]\\nplugins=keyfile\\nno-auto-default=*\\n[keyfile]\\nunmanaged-devices=*\\n' > /etc/NetworkManager/NetworkManager.conf
dbus-daemon --system --fork --nopidfile
NetworkManager --no-daemon > /run/log 2>&1 &
for second in $(seq 100); do nmcli general status > /dev/null 2>&1 && break; sleep 0.1; done
nmcli connection import type wireguard file ${file} > /run/said
cat /etc/NetworkManager/system-connections/*`
    await writeFile(join(directory, 'run.sh'), script)
    const { stdout } = await execa(
      'unshare',
      ['-m', '-n', '-p', '-f', '--mount-proc', 'sh', join(directory, 'run.sh')],
      { timeout: 60_000 },
    )
    for (const line of [
      'type=wireguard',
      'mtu=1280',
      `address1=${device.address4}/32`,
      `address1=${device.address6}/128`,
      'persistent-keepalive=25',
      'endpoint=hub.example:51820',
    ])
      expect(stdout).toContain(line)
    expect(stdout).toMatch(/allowed-ips=10\.77\.\d+\.0\/24;fd[0-9a-f:]+\/64;/)
    expect(stdout).toMatch(/preshared-key=[\w+/]{43}=/)
  })
})
