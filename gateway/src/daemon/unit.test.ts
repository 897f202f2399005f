import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readConfig } from '#config.ts'
import { hasLowPort, optionsAgain } from './options.ts'
import { gatewayUnit, stateOf, type UnitWish } from './unit.ts'

const wish: UnitWish = {
  program: ['/usr/bin/true', '/opt/sotto/sotto.ts'],
  state: '/var/lib/sotto',
  options: ['--port', '8443', '--endpoint', 'home.example.org'],
  reads: [],
  wireguard: 'kernel',
  lowPort: false,
}
const settings = (text: string, name: string): string[] =>
  text.split('\n').flatMap((line) => (line.startsWith(`${name}=`) ? [line.slice(name.length + 1)] : []))

describe('the unit of the gateway', () => {
  it('runs as a user of its own, with the right to its network and no other', () => {
    const unit = gatewayUnit(wish)
    expect(settings(unit, 'User')).toEqual(['sotto'])
    for (const name of ['AmbientCapabilities', 'CapabilityBoundingSet'])
      expect(settings(unit, name)).toEqual(['CAP_NET_ADMIN'])
    expect(settings(unit, 'ExecStart')).toEqual([
      '/usr/bin/true /opt/sotto/sotto.ts up --state /var/lib/sotto --port 8443 --endpoint home.example.org',
    ])
    expect(settings(unit, 'StateDirectory')).toEqual(['sotto'])
    expect(settings(unit, 'PrivateDevices')).toEqual(['yes'])
    // A `+` or `!` before a command would run it as root.
    expect(unit).not.toMatch(/^Exec\w+=[+!]/m)
  })

  it('has no capability on loopback, and one more below port 1024', () => {
    const loopback = gatewayUnit({ ...wish, wireguard: undefined })
    expect(settings(loopback, 'CapabilityBoundingSet')).toEqual([''])
    const web = gatewayUnit({ ...wish, lowPort: true })
    expect(settings(web, 'CapabilityBoundingSet')).toEqual(['CAP_NET_ADMIN CAP_NET_BIND_SERVICE'])
  })

  it('has /dev/net/tun and no other device where the kernel has no WireGuard', () => {
    const unit = gatewayUnit({ ...wish, wireguard: 'wireguard-go' })
    expect(settings(unit, 'DevicePolicy')).toEqual(['closed'])
    expect(settings(unit, 'DeviceAllow')).toEqual(['/dev/net/tun rw'])
    expect(settings(unit, 'RuntimeDirectory')).toEqual(['wireguard'])
  })

  it('sees of a home only the program, and writes to no place but its state', () => {
    const unit = gatewayUnit({
      ...wish,
      program: ['/home/ada/so tto/node', '/home/ada/so tto/sotto.ts'],
      state: '/srv/100%/state',
    })
    expect(settings(unit, 'ProtectHome')).toEqual(['tmpfs'])
    expect(settings(unit, 'BindReadOnlyPaths')).toEqual(['"/home/ada/so tto"', '"/home/ada/so tto/node"'])
    expect(settings(unit, 'ReadWritePaths')).toEqual(['/srv/100%%/state', '/proc/sys/net'])
    expect(stateOf(unit)).toBe('/srv/100%/state')
    expect(settings(gatewayUnit(wish), 'ProtectHome')).toEqual(['yes'])
  })
})

describe('the options of the service', () => {
  it('are those of the start, absolute, and never show a device’s code in a log', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sotto-options-'))
    const file = join(folder, 'c.yaml')
    await writeFile(file, 'tunnel: { listen: "0.0.0.0:443", names: [lend.example.org] }\n')
    const config = readConfig({
      endpoint: 'home.example.org',
      config: file,
      admin: 'ada',
      ollama: 'http://10.0.0.2:11434',
    })
    expect(optionsAgain(config).join(' ')).toBe(
      `--port 8443 --endpoint home.example.org --ollama http://10.0.0.2:11434 --admin ada --config ${file} --no-first-device`,
    )
    expect(hasLowPort(config)).toBe(true)
    expect(hasLowPort(readConfig({}))).toBe(false)
    await rm(folder, { recursive: true })
  })

  it('hold no password', () => {
    expect(() => optionsAgain(readConfig({ ollama: 'http://me:secret@127.0.0.1:11434' }))).toThrow(
      '--ollama has a password in it',
    )
  })
})
