/** The worklet itself, in a context like that of an audio thread. */
import { readFile } from 'node:fs/promises'
import { createContext, runInContext } from 'node:vm'
import { describe, expect, it } from 'vitest'

const source = await readFile(new URL('../../public/worklets/player.js', import.meta.url), 'utf8')

describe('the player', () => {
  it('waits for 80 ms of sound, then plays all of it at the device’s rate', () => {
    const player = start(48_000)
    player.tell({ stream: 1, samples: tone(200).slice(0, 70 * 24) })
    expect(peak(player.play(100))).toBe(0)
    player.tell({ stream: 1, samples: tone(200).slice(70 * 24) })
    player.tell({ end: 1 })
    const sound = player.play(300)
    const heard = sound.findLastIndex((sample) => sample !== 0) + 1
    expect(heard / 48).toBeGreaterThan(195)
    expect(heard / 48).toBeLessThan(205)
    expect(peak(sound)).toBeCloseTo(0.5, 2)
    expect(player.reports.at(-1)).toEqual({ stream: 1, played: 4_800, over: true, underruns: 0 })
    expect(player.reports.map(({ played }) => Math.round(played / 240) * 10)).toEqual([50, 100, 150, 200])
  })

  it.each([24_000, 44_100, 48_000, 96_000])('keeps the tone at %i Hz', (rate) => {
    const player = start(rate)
    player.tell({ stream: 1, samples: tone(1_000) })
    player.tell({ end: 1 })
    const sound = player.play(800).slice(rate * 0.1)
    const crossings = sound.filter((sample, at) => at > 0 && sample >= 0 && sound[at - 1]! < 0).length
    expect(crossings / (sound.length / rate)).toBeCloseTo(toneHz, -1)
  })

  it('is silent within one quantum of a hush, without a click', () => {
    const player = start(48_000)
    player.tell({ stream: 1, samples: tone(1_000) })
    player.play(200)
    player.tell({ hush: 1 })
    const quantum = player.quantum()
    expect(steepest(quantum)).toBeLessThan(0.1)
    expect(quantum.at(-1)).toBe(0)
    expect(peak(player.play(500))).toBe(0)
    expect(player.reports.at(-1)?.over).toBe(true)
  })

  it('plays the next answer after one that was hushed', () => {
    const player = start(48_000)
    player.tell({ stream: 1, samples: tone(1_000) })
    player.play(100)
    player.tell({ stream: 2, samples: tone(100) })
    player.tell({ end: 2 })
    player.tell({ hush: 1 })
    player.play(200)
    expect(player.reports.at(-1)).toMatchObject({ stream: 2, played: 2_400, over: true })
  })

  it('goes on after running dry, with 5 ms more in hand each time', () => {
    const player = start(48_000)
    player.tell({ stream: 1, samples: tone(80) })
    expect(steepest(player.play(200))).toBeLessThan(0.1)
    player.tell({ stream: 1, samples: tone(82) })
    expect(peak(player.play(50))).toBe(0)
    player.tell({ stream: 1, samples: tone(3) })
    expect(peak(player.play(50))).toBeGreaterThan(0.4)
    player.tell({ end: 1 })
    player.play(200)
    expect(player.reports.at(-1)).toEqual({ stream: 1, played: 165 * 24, over: true, underruns: 1 })
  })

  it('plays softly while it is told to', () => {
    const player = start(48_000)
    player.tell({ stream: 1, samples: tone(2_000) })
    player.play(200)
    player.tell({ duck: true })
    player.play(40)
    expect(peak(player.play(100))).toBeCloseTo(0.1, 2)
    player.tell({ duck: false })
    player.play(40)
    expect(peak(player.play(100))).toBeCloseTo(0.5, 2)
  })
})

const toneHz = 440

function tone(ms: number): Int16Array {
  return Int16Array.from({ length: ms * 24 }, (_, at) =>
    Math.round(16_384 * Math.sin((2 * Math.PI * toneHz * at) / 24_000)),
  )
}

const peak = (sound: readonly number[]): number =>
  sound.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0)

const steepest = (sound: readonly number[]): number =>
  sound.reduce((most, sample, at) => Math.max(most, at > 0 ? Math.abs(sample - sound[at - 1]!) : 0), 0)

interface Processor {
  readonly port: { onmessage(event: { data: object }): void }
  process(inputs: readonly [], outputs: readonly [[Float32Array]]): boolean
}

interface Report {
  readonly stream: number
  readonly played: number
  readonly over: boolean
  readonly underruns: number
}

function start(sampleRate: number) {
  const reports: Report[] = []
  let processor: Processor | undefined
  const port = { postMessage: (report: Report) => reports.push(report) }
  const context = createContext({
    sampleRate,
    AudioWorkletProcessor: class {
      port = port
    },
    registerProcessor(_name: string, Player: new () => Processor) {
      processor = new Player()
    },
  })
  runInContext(source, context)
  const quantum = (): number[] => {
    const channel = new Float32Array(128)
    processor!.process([], [[channel]])
    return [...channel]
  }
  return {
    reports,
    quantum,
    tell: (data: object) => processor!.port.onmessage({ data }),
    play: (ms: number): number[] =>
      Array.from({ length: Math.round((ms / 1_000) * (sampleRate / 128)) }, quantum).flat(),
  }
}
