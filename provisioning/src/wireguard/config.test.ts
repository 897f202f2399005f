import { describe, expect, it } from 'vitest'
import { deviceConfig, hubConfig, interfaceConfig } from './config.ts'

const network = {
  interface: 'sotto0',
  range4: '10.77.0.0/24',
  range6: 'fd12:3456:789a::/64',
  listenPort: 51_820,
  endpoint: '192.0.2.1:51820',
  publicKey: 'HUBPUB=',
  gatewayPort: 8443,
}
const device = {
  id: '1',
  name: 'phone',
  person: 'ada',
  personId: 'a',
  directKey: null,
  keepalive: 25,
  expiresAt: null,
  disabledAt: null,
  publicKey: 'DEVPUB=',
  presharedKey: 'PSK=',
  address4: '10.77.0.2',
  address6: 'fd12:3456:789a::2',
  createdAt: '2026-11-20T12:00:00.000Z',
}

describe('the configs', () => {
  const peer = {
    publicKey: 'DEVPUB=',
    presharedKey: 'PSK=',
    allowedIps: ['10.77.0.2/32', 'fd12:3456:789a::2/128'],
  }
  it('bind each peer to its addresses and no others', () => {
    const bare = {
      publicKey: 'DIRECT=',
      presharedKey: 'PSK=',
      allowedIps: [],
      endpoint: '192.0.2.7:1',
      keepalive: 25,
    }
    expect(interfaceConfig({ privateKey: 'KEY=', listenPort: 51_820 }, [peer, bare])).toBe(`[Interface]
PrivateKey = KEY=
ListenPort = 51820

[Peer]
PublicKey = DEVPUB=
PresharedKey = PSK=
AllowedIPs = 10.77.0.2/32, fd12:3456:789a::2/128

[Peer]
PublicKey = DIRECT=
PresharedKey = PSK=
Endpoint = 192.0.2.7:1
PersistentKeepalive = 25
`)
  })

  it('give the hub’s for wg-quick its addresses in both ranges', () => {
    expect(hubConfig(network, 'HUBKEY=', [peer])).toMatch(
      /^\[Interface\]\nPrivateKey = HUBKEY=\nAddress = 10\.77\.0\.1\/24, fd12:3456:789a::1\/64\nListenPort = 51820\nMTU = 1280\n/,
    )
  })

  it('leave out the keepalive of a device that wants none', () => {
    expect(deviceConfig(network, { ...device, keepalive: 0 }, 'DEVKEY=')).not.toContain('Keepalive')
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
})
