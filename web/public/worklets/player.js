// PCM16 mono at 24 kHz in, the device's rate out, and how many samples of each stream were played.
//
// In: {stream, samples}, {end: stream}, {hush: stream} (or null for all), {duck: boolean}.
// Out: {stream, played, over, underruns}, twenty times a second while it plays and at the end of a stream.
//
// The numbers of the buffer are those of Kyutai's Unmute (audio-output-processor.js), which were found by use:
// start with 80 ms, and 5 ms more for each time that it ran dry, up to 80 ms more.

const inputRate = 24_000
const milliseconds = inputRate / 1_000
const startSamples = 80 * milliseconds
const samplesPerUnderrun = 5 * milliseconds
const mostForUnderruns = 80 * milliseconds
const fadeInSeconds = 0.005
/** Shorter than a quantum of 128 frames, so that a hush is silence within one. */
const releaseFrames = 64
const duckedGain = 0.2
const duckSeconds = 0.03
const reportSeconds = 0.05

class Player extends AudioWorkletProcessor {
  constructor() {
    super()
    this.step = inputRate / sampleRate
    /** Streams in the order in which they are played: {stream, chunks, at, played, ended}. */
    this.queue = []
    this.queued = 0
    this.playing = false
    this.underruns = 0
    /** The four input samples around the output's position, which is `between` the middle two. */
    this.around = [0, 0, 0, 0]
    this.between = 0
    this.fade = 0
    this.duck = 1
    this.duckTo = 1
    this.last = 0
    this.release = 0
    this.sinceReport = 0
    this.port.onmessage = ({ data }) => this.take(data)
  }

  take(message) {
    if ('samples' in message) this.add(message.stream, message.samples)
    else if ('end' in message) this.end(message.end)
    else if ('hush' in message) this.hush(message.hush)
    else this.duckTo = message.duck ? duckedGain : 1
  }

  add(stream, samples) {
    let entry = this.queue.find((one) => one.stream === stream)
    if (!entry) {
      entry = { stream, chunks: [], at: 0, played: 0, ended: false }
      this.queue.push(entry)
    }
    entry.chunks.push(samples)
    this.queued += samples.length
  }

  end(stream) {
    const entry = this.queue.find((one) => one.stream === stream)
    if (entry) entry.ended = true
    else this.port.postMessage({ stream, played: 0, over: true, underruns: this.underruns })
  }

  hush(stream) {
    if (stream === null || this.queue[0]?.stream === stream) this.halt()
    for (const entry of this.queue.filter((one) => stream === null || one.stream === stream)) {
      for (const chunk of entry.chunks) this.queued -= chunk.length
      this.queued += entry.at
      this.report(entry, true)
    }
    this.queue = stream === null ? [] : this.queue.filter((one) => one.stream !== stream)
  }

  process(_inputs, [[channel]]) {
    if (!channel) return true
    if (!this.playing && this.ready()) this.begin()
    for (let frame = 0; frame < channel.length; frame += 1) channel[frame] = this.frame()
    this.sinceReport += channel.length
    if (this.playing && this.sinceReport >= reportSeconds * sampleRate) this.report(this.queue[0], false)
    return true
  }

  ready() {
    if (this.queued === 0) {
      // What ends without a sample left has ended.
      while (this.queue[0]?.ended) this.finish()
      return false
    }
    const wanted = startSamples + Math.min(mostForUnderruns, this.underruns * samplesPerUnderrun)
    return this.queued >= wanted || this.queue.every(({ ended }) => ended) || this.queue.length > 1
  }

  begin() {
    this.playing = true
    this.fade = 0
    this.around = [0, 0, 0, 0]
    this.between = 0
    this.sinceReport = 0
  }

  /** Falls silent without a click, from wherever the sound is. */
  halt() {
    if (this.playing) this.release = releaseFrames
    this.playing = false
  }

  frame() {
    this.duck = towards(this.duck, this.duckTo, (1 - duckedGain) / (duckSeconds * sampleRate))
    if (this.playing) {
      const sample = this.next()
      if (sample !== undefined) {
        this.fade = Math.min(1, this.fade + 1 / (fadeInSeconds * sampleRate))
        this.last = sample * this.fade * this.duck
        return this.last
      }
      if (!this.queue[0]?.ended) this.underruns += 1
      this.halt()
      while (this.queue[0]?.ended) this.finish()
    }
    if (this.release === 0) return 0
    this.release -= 1
    return (this.last * this.release) / releaseFrames
  }

  /** The next output sample: a cubic through the four around it (Catmull-Rom). */
  next() {
    for (this.between += this.step; this.between >= 1; this.between -= 1) {
      const sample = this.pull()
      if (sample === undefined) return undefined
      this.around.shift()
      this.around.push(sample)
    }
    const [a, b, c, d] = this.around
    const t = this.between
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
  }

  pull() {
    while (this.queue[0]?.chunks.length === 0 && this.queue.length > 1) this.finish()
    const entry = this.queue[0]
    const chunk = entry?.chunks[0]
    if (!chunk) return undefined
    const sample = chunk[entry.at] / 32_768
    entry.at += 1
    entry.played += 1
    this.queued -= 1
    if (entry.at === chunk.length) {
      entry.chunks.shift()
      entry.at = 0
    }
    return sample
  }

  finish() {
    this.report(this.queue.shift(), true)
  }

  report({ stream, played }, over) {
    this.sinceReport = 0
    this.port.postMessage({ stream, played, over, underruns: this.underruns })
  }
}

function towards(from, to, step) {
  return from < to ? Math.min(to, from + step) : Math.max(to, from - step)
}

registerProcessor('player', Player)
