import { describe, expect, it } from 'vitest'
import { isOnline, isSo, parsePeers, parseSettings } from './peers.ts'

const dump = [
  'HUBSECRET=\tHUBPUB=\t51820\toff',
  'DEVPUB=\tPSKSECRET=\t192.0.2.2:40000\t10.77.0.2/32,fd00::2/128\t1763640000\t1480\t3020\t25',
  'NEWPUB=\tPSKSECRET=\t(none)\t(none)\t0\t0\t0\toff',
  '',
].join('\n')

describe('the live peers', () => {
  it('are read without any of their secrets', () => {
    const peers = parsePeers(dump)
    expect(peers).toEqual([
      {
        publicKey: 'DEVPUB=',
        endpoint: '192.0.2.2:40000',
        allowedIps: ['10.77.0.2/32', 'fd00::2/128'],
        latestHandshake: 1_763_640_000,
        receivedBytes: 1480,
        sentBytes: 3020,
      },
      {
        publicKey: 'NEWPUB=',
        endpoint: null,
        allowedIps: [],
        latestHandshake: null,
        receivedBytes: 0,
        sentBytes: 0,
      },
    ])
    expect(JSON.stringify(peers)).not.toContain('SECRET')
  })

  it('are online for as long as a session’s keys live', () => {
    const [seen, never] = parsePeers(dump)
    expect(isOnline(seen, 1_763_640_179_000)).toBe(true)
    expect(isOnline(seen, 1_763_640_180_000)).toBe(false)
    // Before the clock was set back by a day.
    expect(isOnline(seen, 1_763_640_000_000 - 86_400_000)).toBe(false)
    expect(isOnline(never)).toBe(false)
    expect(isOnline(undefined)).toBe(false)
  })
})

describe('what a live peer is set to', () => {
  const { peers, privateKey, listenPort } = parseSettings(dump)
  const wanted = {
    publicKey: 'DEVPUB=',
    presharedKey: 'PSKSECRET=',
    allowedIps: ['fd00:0::2/128', '10.77.0.2/32'],
    keepalive: 25,
  }
  it('is told apart from what it should be, and left alone where it is so', () => {
    const live = peers.get('DEVPUB=')
    expect([privateKey, listenPort]).toEqual(['HUBSECRET=', 51820])
    expect(isSo(live, wanted)).toBe(true)
    expect(isSo(live, { ...wanted, endpoint: '192.0.2.2:40000' })).toBe(true)
    for (const other of [
      { presharedKey: 'OTHER=' },
      { allowedIps: ['10.77.0.2/32'] },
      { allowedIps: ['10.77.0.3/32', 'fd00::2/128'] },
      { keepalive: 15 },
      { endpoint: '192.0.2.9:40000' },
    ])
      expect(isSo(live, { ...wanted, ...other }), JSON.stringify(other)).toBe(false)
    expect(isSo(undefined, wanted)).toBe(false)
    expect(
      isSo(peers.get('NEWPUB='), { publicKey: 'NEWPUB=', presharedKey: 'PSKSECRET=', allowedIps: [] }),
    ).toBe(true)
  })
})
