/** Sound at one rate from sound at another, as it streams. */
import libsamplerate from '@alexanderolsen/libsamplerate-js'

/** PCM16 mono in, PCM16 mono out. What was held back at the end of one push comes with the next. */
export interface Resampler {
  /** The samples that are due so far; the last few wait for those that follow. */
  push(samples: Int16Array): Int16Array
  /** Those that waited. Together with all pushes: as many as the sound is long. Nothing may be pushed after. */
  end(): Int16Array
  /** Gives its memory back; afterwards it must not be used. */
  close(): void
}

type Converter = Awaited<ReturnType<typeof libsamplerate.create>>

/** Each is a WebAssembly instance of its own, 26 MB of address space and 10 ms to make: they are used again. */
const idle: Converter[] = []
const maxIdle = 8
/** The converter looks so far ahead, in samples of the slower side. Source: `fastest_coeffs.h`, libsamplerate. */
const lookahead = 32

/**
 * @param from samples a second of what is pushed
 * @param to samples a second of what comes out
 */
export async function createResampler(from: number, to: number): Promise<Resampler> {
  if (from === to) return { push: (samples) => samples, end: () => new Int16Array(0), close() {} }
  const converter = idle.pop() ?? (await libsamplerate.create(1, from, to, { converterType: 2 }))
  // Either of these makes its state anew, even where the rate stays.
  converter.inputSampleRate = from
  converter.outputSampleRate = to
  // What it checks lengths by; version 2.1.2 leaves it at the rates that it was made for.
  converter.ratio = to / from
  // A second at a time: the converter's own memory holds some twenty.
  const input = new Float32Array(from)
  const output = new Float32Array(to + lookahead)
  let closed = false
  let pushed = 0
  let given = 0
  const convert = (samples: Int16Array): Int16Array => {
    const made = new Int16Array(Math.ceil((samples.length * to) / from) + lookahead)
    let length = 0
    for (let start = 0; start < samples.length; start += from) {
      const part = samples.subarray(start, start + from)
      for (const [at, sample] of part.entries()) input[at] = sample / 32_768
      const written = { frames: 0 }
      converter.full(input.subarray(0, part.length), output, written)
      for (let at = 0; at < written.frames; at += 1) made[length + at] = toInt16(output[at] ?? 0)
      length += written.frames
    }
    given += length
    return made.subarray(0, length)
  }
  return {
    push(samples) {
      pushed += samples.length
      return convert(samples)
    },
    end() {
      const missing = Math.round((pushed * to) / from) - given
      if (missing <= 0) return new Int16Array(0)
      const silence = new Int16Array(Math.ceil((missing * from) / to + lookahead * Math.max(1, from / to)))
      return convert(silence).subarray(0, missing)
    },
    close() {
      if (closed) return
      closed = true
      if (idle.length < maxIdle) idle.push(converter)
      else converter.destroy()
    },
  }
}

/** A stream of sound at another rate. */
export async function* resampled(
  sound: AsyncIterable<Int16Array>,
  from: number,
  to: number,
): AsyncGenerator<Int16Array> {
  const resampler = await createResampler(from, to)
  try {
    for await (const samples of sound) {
      const made = resampler.push(samples)
      if (made.length > 0) yield made
    }
    const last = resampler.end()
    if (last.length > 0) yield last
  } finally {
    resampler.close()
  }
}

/** Steep sounds overshoot a little. */
function toInt16(sample: number): number {
  return Math.max(-32_768, Math.min(32_767, Math.round(sample * 32_768)))
}
