import { describe, expect, it } from 'vitest'
import { deviceConfig, guardRules, hubConfig } from './config.ts'

const network = {
  interface: 'sotto0',
  range4: '10.77.0.0/24',
  range6: 'fd12:3456:789a::/64',
  listenPort: 51_820,
  endpoint: '192.0.2.1:51820',
  publicKey: 'HUBPUB=',
}
const device = {
  id: '1',
  name: 'phone',
  person: 'ada',
  publicKey: 'DEVPUB=',
  presharedKey: 'PSK=',
  address4: '10.77.0.2',
  address6: 'fd12:3456:789a::2',
  createdAt: '2026-11-20T12:00:00.000Z',
}

describe('the configs', () => {
  it('bind each device on the hub to its two addresses and no others', () => {
    expect(hubConfig(network, 'HUBKEY=', [device])).toBe(`[Interface]
PrivateKey = HUBKEY=
ListenPort = 51820

[Peer]
PublicKey = DEVPUB=
PresharedKey = PSK=
AllowedIPs = 10.77.0.2/32, fd12:3456:789a::2/128
`)
  })

  it('send the overlay alone through a device’s tunnel', () => {
    expect(deviceConfig(network, device, 'DEVKEY=')).toBe(`[Interface]
PrivateKey = DEVKEY=
Address = 10.77.0.2/32, fd12:3456:789a::2/128
MTU = 1280

[Peer]
PublicKey = HUBPUB=
PresharedKey = PSK=
Endpoint = 192.0.2.1:51820
AllowedIPs = 10.77.0.0/24, fd12:3456:789a::/64
PersistentKeepalive = 25
`)
  })

  it('guard both ranges in both directions', () => {
    const rules = guardRules(network)
    for (const match of [
      'ip daddr 10.77.0.1',
      'ip6 daddr fd12:3456:789a::1',
      'ip saddr 10.77.0.0/24',
      'ip6 saddr fd12:3456:789a::/64',
    ])
      expect(rules).toContain(`iifname != { "lo", "sotto0" } ${match} drop`)
  })
})
