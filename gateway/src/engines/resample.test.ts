import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import { createResampler } from './resample.ts'

const tone = (rate: number, hertz: number, seconds: number): Int16Array =>
  Int16Array.from({ length: rate * seconds }, (_, at) =>
    Math.round(12_000 * Math.sin((2 * Math.PI * hertz * at) / rate)),
  )

async function through(from: number, to: number, samples: Int16Array, step: number): Promise<Int16Array> {
  const resampler = await createResampler(from, to)
  const made: Int16Array[] = []
  for (let at = 0; at < samples.length; at += step) made.push(resampler.push(samples.subarray(at, at + step)))
  made.push(resampler.end())
  resampler.close()
  return Int16Array.from(made.flatMap((part) => Array.from(part)))
}

/** The greatest difference, but for the edges, where sound begins from nothing. */
function difference(one: Int16Array, other: Int16Array): number {
  let most = 0
  for (let at = 200; at < one.length - 200; at += 1)
    most = Math.max(most, Math.abs((one[at] ?? 0) - (other[at] ?? 0)))
  return most
}

describe('resampling', () => {
  for (const [from, to] of [
    [24_000, 16_000],
    [8_000, 16_000],
    [24_000, 8_000],
    [22_050, 24_000],
    [16_000, 24_000],
  ] as const)
    it(`keeps a tone's pitch, level and length from ${from} to ${to} Hz`, async () => {
      const made = await through(from, to, tone(from, 440, 1), 480)
      expect(made).toHaveLength(to)
      // Half a sample's shift makes some 690; a whole one's, twice that.
      expect(difference(made, tone(to, 440, 1))).toBeLessThan(700)
    })

  it('makes the same of a sound whatever pieces it comes in', async () => {
    const whole = await through(24_000, 16_000, tone(24_000, 1_000, 1), 24_000)
    expect(difference(await through(24_000, 16_000, tone(24_000, 1_000, 1), 7), whole)).toBe(0)
  })

  it('takes away what the lower rate cannot hold', async () => {
    const made = await through(24_000, 8_000, tone(24_000, 7_000, 1), 480)
    expect(difference(made, new Int16Array(made.length))).toBeLessThan(100)
  })

  it('begins from silence each time, whatever one before it was used for', async () => {
    const first = await createResampler(24_000, 16_000)
    first.push(tone(24_000, 440, 1))
    first.close()
    const made = await through(24_000, 16_000, new Int16Array(2_400), 480)
    expect(made).toEqual(new Int16Array(1_600))
  })

  it('takes long pieces, too, and gives all that is due', async () => {
    for (const [from, to] of [
      [8_000, 48_000],
      [48_000, 8_000],
      [22_050, 24_000],
    ] as const)
      expect(await through(from, to, tone(from, 440, 3), from * 3)).toHaveLength(to * 3)
  })

  it('is many at once, each with what it was given', async () => {
    const many = await Promise.all(Array.from({ length: 100 }, () => createResampler(24_000, 16_000)))
    for (const [at, resampler] of many.entries()) resampler.push(new Int16Array(2_400).fill(at * 100))
    for (const [at, resampler] of many.entries()) {
      const made = resampler.push(new Int16Array(2_400).fill(at * 100))
      expect(Math.abs((made[500] ?? 0) - at * 100)).toBeLessThan(at * 2 + 2)
      resampler.close()
    }
  })

  it('leaves the ends of the process to the gateway', async () => {
    const script = `
      const { createResampler } = await import(${JSON.stringify(new URL('resample.ts', import.meta.url).href)})
      await createResampler(24_000, 16_000)
      console.log(process.listenerCount('uncaughtException'), process.listenerCount('unhandledRejection'))`
    const { stdout } = await execa(process.execPath, ['--input-type=module', '-e', script])
    expect(stdout).toBe('0 0')
  })

  it('leaves sound alone that has the rate already', async () => {
    expect(await through(16_000, 16_000, tone(16_000, 440, 1), 160)).toEqual(tone(16_000, 440, 1))
  })
})
