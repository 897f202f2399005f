import { describe, expect, it } from 'vitest'
import { configFileName, deviceSteps, hubFirewall, systems } from './steps.ts'

describe('the steps for a device', () => {
  it('end at the gateway’s page, on every system, after the CA is trusted', () => {
    for (const system of systems) {
      const steps = deviceSteps(system, {
        file: 'phone.conf',
        origin: 'https://10.77.0.1:8443',
        range4: '10.77.0.0/24',
      })
      expect(steps.at(-1)?.title, system).toBe('Open https://10.77.0.1:8443')
      expect(steps.at(-2)?.title, system).toContain('http://10.77.0.1:8443/enrol')
      expect(steps.map(({ title, commands = [] }) => [title, ...commands].join()).join(), system).toMatch(
        /WireGuard/,
      )
    }
  })

  it('let other devices in by the firewall’s own command', () => {
    const of = (system: 'linux' | 'windows') =>
      deviceSteps(system, { file: 'a.conf', origin: 'https://h', range4: '10.77.0.0/24' }).flatMap(
        ({ commands = [] }) => commands,
      )
    expect(of('linux')).toContain('sudo ufw allow from 10.77.0.0/24')
    expect(of('windows').join()).toContain('remoteip=10.77.0.0/24')
    for (const command of Object.values(hubFirewall(51_821))) expect(command).toContain('51821')
  })

  it('name a file as wg-quick and the apps take it', () => {
    for (const [name, file] of [
      ['Ada phone', 'ada-phone.conf'],
      ['Zoë’s très long laptop name', 'zoe-s-tre-s-lon.conf'],
      ['日本', 'sotto.conf'],
      ['...', 'sotto.conf'],
    ] as const) {
      expect(configFileName(name)).toMatch(/^[a-zA-Z0-9_=+.-]{1,15}\.conf$/)
      if (name !== 'Zoë’s très long laptop name') expect(configFileName(name)).toBe(file)
    }
  })
})
