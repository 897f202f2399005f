import { describe, expect, it } from 'vitest'
import { createDirectory } from './directory.ts'

const network = {
  interface: 'sotto0',
  range4: '10.77.0.0/24',
  range6: 'fd00::/64',
  listenPort: 51_820,
  endpoint: null,
  publicKey: '',
}
const device = (id: string, number: number) => ({
  id,
  name: id,
  person: 'ada',
  publicKey: '',
  presharedKey: '',
  address4: `10.77.0.${number}`,
  address6: `fd00::${number}`,
  createdAt: '',
})

describe('the directory', () => {
  it('knows a device by either of its addresses, in each of their spellings', () => {
    const directory = createDirectory(network)
    directory.update([device('phone', 2)])
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
    expect(directory.update([device('phone', 2), device('laptop', 3)])).toEqual([])
    expect(directory.update([device('laptop', 3)])).toEqual(['10.77.0.2', 'fd00::2'])
    expect(directory.identify('10.77.0.2')).toBeUndefined()
    expect(directory.update([device('other', 3)])).toEqual(['10.77.0.3', 'fd00::3'])
  })
})
