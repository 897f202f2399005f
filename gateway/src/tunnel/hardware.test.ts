import { describe, expect, it } from 'vitest'
import { hardware } from './offer.ts'
import { parseApple, parseNvidia, parseRocm, readHardware } from './hardware.ts'

describe('the hardware of a lender', () => {
  it('is told of this machine, whatever it has', async () => {
    const read = hardware.parse(await readHardware())
    expect(read.cpu.cores).toBeGreaterThan(0)
    expect(read.memoryBytes).toBeGreaterThan(0)
  })

  it('has the GPUs that nvidia-smi names', () => {
    expect(parseNvidia('NVIDIA GeForce RTX 4090, 24564\nTesla T4, 15360\n')).toEqual([
      { name: 'NVIDIA GeForce RTX 4090', memoryBytes: 24564 * 2 ** 20 },
      { name: 'Tesla T4', memoryBytes: 15360 * 2 ** 20 },
    ])
    expect(parseNvidia('No devices were found')).toEqual([])
  })

  it('has the GPUs that rocm-smi names', () => {
    const text = JSON.stringify({
      card0: { 'Card Series': 'Radeon RX 7900 XTX', 'VRAM Total Memory (B)': '25753026560' },
      system: { 'Driver version': '6.8' },
    })
    expect(parseRocm(text)).toEqual([{ name: 'Radeon RX 7900 XTX', memoryBytes: 25753026560 }])
    expect(parseRocm('')).toEqual([])
  })

  it('has the chip that system_profiler names', () => {
    const text = JSON.stringify({ SPDisplaysDataType: [{ sppci_model: 'Apple M3 Max', sppci_cores: '40' }] })
    expect(parseApple(text)).toEqual([{ name: 'Apple M3 Max', memoryBytes: null }])
    expect(parseApple('{}')).toEqual([])
  })
})
