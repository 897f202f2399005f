/** Sound at one rate from sound at another, as it streams. */
import { createRequire } from 'node:module'

/** PCM16 mono in, PCM16 mono out. What was held back at the end of one push comes with the next. */
export interface Resampler {
  /** The samples that are due so far; the last few wait for those that follow. */
  push(samples: Int16Array): Int16Array
  /** Those that waited. Together with all pushes: as many as the sound is long. Nothing may be pushed after. */
  end(): Int16Array
  /** Gives its memory back; afterwards it must not be used. */
  close(): void
}

/**
 * What of Speex’s WebAssembly we call. The package’s own class never gives a resampler’s memory back, and
 * loses a sample where its buffer is one too short.
 */
interface Speex {
  /** A new one whenever its memory grows. */
  readonly HEAP16: Int16Array
  readonly HEAP32: Int32Array
  _malloc(bytes: number): number
  _free(place: number): void
  _speex_resampler_init(channels: number, from: number, to: number, quality: number, error: number): number
  _speex_resampler_process_interleaved_int(
    state: number,
    input: number,
    inputLength: number,
    output: number,
    outputLength: number,
  ): number
  _speex_resampler_destroy(state: number): void
}

/** Of 10; a tenth of a second from 24 to 16 kHz takes 0.08 ms of work (measured). */
const quality = 5
/** Taps of its filter, for what is not made slower. Source: `quality_map` in `resample.c`, speexdsp. */
const taps = 80
/** Samples that are worked on at once, whatever came: so much memory is held for each resampler. */
const stepSamples = 2_400

/**
 * @param from samples a second of what is pushed
 * @param to samples a second of what comes out
 */
export async function createResampler(from: number, to: number): Promise<Resampler> {
  if (from === to) return { push: (samples) => samples, end: () => new Int16Array(0), close() {} }
  const module = await (loading ??= load())
  const { _malloc: reserve, _free: free, _speex_resampler_init: begin } = module
  const { _speex_resampler_process_interleaved_int: work, _speex_resampler_destroy: destroy } = module
  const room = Math.ceil((stepSamples * to) / from) + 1
  // Two lengths, then the samples that go in, then those that come out.
  const place = reserve(8 + 2 * (stepSamples + room))
  const [inLength, outLength, input] = [place, place + 4, place + 8]
  const output = input + 2 * stepSamples
  const state = begin(1, from, to, quality, inLength)
  if (place === 0 || state === 0) throw new Error(`No resampler from ${from} to ${to} Hz.`)
  // What the filter gives before the first sample has come to its middle.
  const middle = filterTaps(from, to) / 2
  let early = Math.round((middle * to) / from)
  let pushed = 0
  let given = 0
  let closed = false
  const convert = (samples: Int16Array): Int16Array => {
    const made = new Int16Array(
      Math.ceil((samples.length * to) / from) + 1 + Math.ceil(samples.length / stepSamples),
    )
    let length = 0
    for (let at = 0; at < samples.length;) {
      const step = samples.subarray(at, at + stepSamples)
      module.HEAP16.set(step, input / 2)
      module.HEAP32[inLength / 4] = step.length
      module.HEAP32[outLength / 4] = room
      work(state, input, inLength, output, outLength)
      const out = module.HEAP32[outLength / 4] ?? 0
      const skipped = Math.min(early, out)
      early -= skipped
      made.set(module.HEAP16.subarray(output / 2 + skipped, output / 2 + out), length)
      length += out - skipped
      at += module.HEAP32[inLength / 4] || step.length
    }
    given += length
    return made.subarray(0, length)
  }
  return {
    push(samples) {
      if (closed) throw new Error('The resampler is closed.')
      pushed += samples.length
      return convert(samples)
    },
    end() {
      if (closed) throw new Error('The resampler is closed.')
      const missing = Math.round((pushed * to) / from) - given
      // Silence pushes the rest out.
      return convert(new Int16Array(Math.ceil(middle + 1 + from / to))).subarray(0, Math.max(0, missing))
    },
    close() {
      if (closed) return
      closed = true
      destroy(state)
      free(place)
    },
  }
}

const require = createRequire(import.meta.url)
let loading: Promise<Speex> | undefined

/**
 * Its glue puts handlers of its own on the process, which would end the gateway in their way: they are taken
 * off again in the same breath, so that they are surely its own.
 */
function load(): Promise<Speex> {
  const uncaught = process.listeners('uncaughtException')
  const unhandled = process.listeners('unhandledRejection')
  const loaded: { readonly default: { readonly initPromise: Promise<Speex> } } = require('speex-resampler')
  for (const handler of process.listeners('uncaughtException'))
    if (!uncaught.includes(handler)) process.off('uncaughtException', handler)
  for (const handler of process.listeners('unhandledRejection'))
    if (!unhandled.includes(handler)) process.off('unhandledRejection', handler)
  return loaded.default.initPromise
}

/** A filter is as much longer as the sound becomes slower. Source: `update_filter` in `resample.c`, speexdsp. */
function filterTaps(from: number, to: number): number {
  return from <= to ? taps : ((Math.floor((taps * from) / to) - 1) & ~7) + 8
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
