import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { frameSamples, loadVoiceActivity, type VoiceActivity } from './voice-activity.ts'

/** A second of nothing, a sentence, a second of nothing; PCM at 16 kHz. */
function spoken(): Float32Array {
  const said = execFileSync('espeak-ng', ['--stdout', 'How far away is the moon?'])
  const raw = execFileSync(
    'sox',
    [
      '-V1',
      '-D',
      '-t',
      'wav',
      '-',
      '-t',
      'raw',
      '-r',
      '16000',
      '-b',
      '16',
      '-e',
      'signed',
      '-',
      'pad',
      '1',
      '1',
    ],
    { input: said, stdio: ['pipe', 'pipe', 'ignore'] },
  )
  return Float32Array.from(
    new Int16Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length)),
    (sample) => sample / 32_768,
  )
}

describe('voice activity', () => {
  let activity: VoiceActivity
  beforeAll(async () => {
    activity = await loadVoiceActivity()
  })
  afterAll(() => activity.close())

  const frames = (sound: Float32Array) =>
    Array.from({ length: Math.floor(sound.length / frameSamples) }, (_, at) =>
      sound.subarray(at * frameSamples, (at + 1) * frameSamples),
    )
  async function hear(sound: Float32Array): Promise<number[]> {
    const listener = activity.open()
    const heard: number[] = []
    for (const frame of frames(sound)) heard.push(await listener.hear(frame))
    return heard
  }

  it('hears speech where it is, and none around it', async () => {
    const heard = await hear(spoken())
    const speech = heard.filter((likely) => likely > 0.5).length
    // The sentence takes some 1.6 s, which are 50 frames. Without the context of 64 samples it would be none.
    expect(speech).toBeGreaterThan(35)
    expect(Math.max(...heard.slice(0, 28), ...heard.slice(-20))).toBeLessThan(0.3)
  })

  it('hears none in noise', async () => {
    let seed = 1
    const noise = Float32Array.from({ length: 32_000 }, () => {
      seed = (seed * 48_271) % 2_147_483_647
      return (seed / 2_147_483_647 - 0.5) * 0.1
    })
    expect(Math.max(...(await hear(noise)))).toBeLessThan(0.5)
  })

  it('keeps those apart who speak at the same time', async () => {
    const sound = spoken()
    const alone = await hear(sound)
    const [one, other] = [activity.open(), activity.open()]
    const both: number[] = []
    for (const frame of frames(sound)) {
      const [heard] = await Promise.all([one.hear(frame), other.hear(new Float32Array(frameSamples))])
      both.push(heard)
    }
    expect(both).toEqual(alone)
  })

  it('hears a crowd as it hears each of them alone', async () => {
    const sound = spoken()
    const alone = await hear(sound)
    const crowd = Array.from({ length: 12 }, () => activity.open())
    for (const [at, frame] of frames(sound).entries())
      for (const heard of await Promise.all(crowd.map((one) => one.hear(frame))))
        expect(heard).toBeCloseTo(alone[at] ?? NaN, 4)
    for (const one of crowd) one.close()
  })
})
