/**
 * Whose recording it is and how far it goes, written into the lowest bits of its samples, so that an engine that
 * gets a part of it knows. 96 dB below the loudest: no ear and no model hears it. What resamples wipes it out.
 */

/** 3 ms: 16 bits to find it by, 8 for the session, 24 for its number. */
const blockSamples = 48
const sync = 0xb5_2d
const blocks = 1 << 24

export function mark(samples: Int16Array, session: number): void {
  for (let at = 0; at < samples.length; at += 1) {
    const bits = (sync * 256 + session) * blocks + Math.floor(at / blockSamples)
    const bit = Math.floor(bits / 2 ** (blockSamples - 1 - (at % blockSamples))) % 2
    samples[at] = ((samples[at] ?? 0) & ~1) | bit
  }
}

/** Its session, and where in the session's sound it ends, in samples; undefined where it has no marks. */
export function readMark(samples: Int16Array): { session: number; end: number } | undefined {
  for (let end = samples.length; end > samples.length - blockSamples; end -= 1) {
    const last = blockAt(samples, end - blockSamples)
    const before = blockAt(samples, end - 2 * blockSamples)
    if (last === undefined || before === undefined || last !== before + 1) continue
    return {
      session: Math.floor(last / blocks),
      end: ((last % blocks) + 1) * blockSamples + samples.length - end,
    }
  }
  return undefined
}

function blockAt(samples: Int16Array, from: number): number | undefined {
  if (from < 0) return undefined
  let bits = 0
  for (let at = from; at < from + blockSamples; at += 1) bits = bits * 2 + ((samples[at] ?? 0) & 1)
  return Math.floor(bits / (256 * blocks)) === sync ? bits % (256 * blocks) : undefined
}
