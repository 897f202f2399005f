import { describe, expect, it } from 'vitest'
import { createDirectory } from './directory.ts'

const network = {
  interface: 'sotto0',
  range4: '10.77.0.0/24',
  range6: 'fd00::/64',
  listenPort: 51_820,
  endpoint: null,
  publicKey: '',
  gatewayPort: null,
}
const device = (id: string, number: number) => ({
  id,
  name: id,
  person: 'ada',
  personId: 'a',
  directKey: null,
  keepalive: 25,
  expiresAt: null,
  disabledAt: null,
  publicKey: '',
  presharedKey: '',
  address4: `10.77.0.${number}`,
  address6: `fd00::${number}`,
  createdAt: '',
})

describe('the directory', () => {
  it('knows a device by either of its addresses, in each of their spellings', () => {
    const directory = createDirectory(network)
    directory.update({ devices: [device('phone', 2)], links: [] })
    for (const address of ['10.77.0.2', '::ffff:10.77.0.2', 'fd00::2', 'fd00:0:0:0::2'])
      expect(directory.identify(address), address).toMatchObject({
        kind: 'device',
        name: 'phone',
        deviceId: 'phone',
      })
  })

  it('knows its own machine, and no stranger', () => {
    const directory = createDirectory(network)
    for (const address of ['127.0.0.1', '::1', '10.77.0.1', 'fd00::1'])
      expect(directory.identify(address)?.kind).toBe('host')
    for (const address of ['10.77.0.3', '192.0.2.7', 'fd00::3', '', undefined])
      expect(directory.identify(address)).toBeUndefined()
  })

  it('says which addresses lost their device', () => {
    const directory = createDirectory(network)
    expect(directory.update({ devices: [device('phone', 2), device('laptop', 3)], links: [] })).toEqual([])
    expect(directory.update({ devices: [device('laptop', 3)], links: [] })).toEqual(['10.77.0.2', 'fd00::2'])
    expect(directory.identify('10.77.0.2')).toBeUndefined()
    expect(directory.update({ devices: [device('other', 3)], links: [] })).toEqual(['10.77.0.3', 'fd00::3'])
  })

  it('takes a link’s place for a guest, until it is a device’s', () => {
    const directory = createDirectory(network)
    const { id, name, publicKey, presharedKey, address4, address6, createdAt } = device('new', 4)
    const link = { id, name, publicKey, presharedKey, address4, address6, createdAt, expiresAt: '' }
    directory.update({ devices: [], links: [link] })
    expect(directory.identify('10.77.0.4')).toEqual({ kind: 'guest', name: 'new' })
    expect(directory.update({ devices: [device('new', 4)], links: [] })).toEqual(['10.77.0.4', 'fd00::4'])
    expect(directory.identify('10.77.0.4')?.kind).toBe('device')
  })
})
