// Microphone samples at the device's rate in, PCM16 mono at 16 kHz out, 40 ms at a time.
//
// The context runs at the device's own rate, since Firefox refuses a microphone at another one
// (Mozilla 1674892), so the rate is changed here: a windowed-sinc low-pass, evaluated only where an
// output sample lies, and interpolated where it lies between two input samples.

const outputRate = 16_000
const chunkSamples = outputRate * 0.04
const taps = 64

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super()
    this.step = sampleRate / outputRate
    this.kernel = lowPass(taps, (0.45 * Math.min(outputRate, sampleRate)) / sampleRate)
    this.history = new Float32Array(taps + 1)
    this.position = 0
    this.chunk = new Int16Array(chunkSamples)
    this.filled = 0
    // The end of a turn: what is left of it, then a sign that nothing more comes.
    this.port.onmessage = () => {
      this.flush()
      this.port.postMessage(null)
    }
  }

  process([input]) {
    const samples = input?.[0]
    if (!samples) return true
    const line = new Float32Array(this.history.length + samples.length)
    line.set(this.history)
    line.set(samples, this.history.length)
    for (; this.position < samples.length; this.position += this.step) {
      const at = Math.floor(this.position)
      const between = this.position - at
      const here = this.filtered(line, at)
      this.emit(between === 0 ? here : here + between * (this.filtered(line, at + 1) - here))
    }
    this.position -= samples.length
    this.history = line.slice(-this.history.length)
    return true
  }

  filtered(line, at) {
    let sum = 0
    for (let tap = 0; tap < taps; tap += 1) sum += this.kernel[tap] * line[at + tap]
    return sum
  }

  emit(sample) {
    this.chunk[this.filled] = Math.round(Math.max(-1, Math.min(1, sample)) * 32_767)
    this.filled += 1
    if (this.filled === chunkSamples) this.flush()
  }

  flush() {
    const chunk = this.chunk.slice(0, this.filled)
    this.filled = 0
    this.port.postMessage(chunk, [chunk.buffer])
  }
}

function lowPass(length, cutoff) {
  const kernel = new Float32Array(length)
  const middle = (length - 1) / 2
  for (let tap = 0; tap < length; tap += 1) {
    const x = tap - middle
    const sinc = x === 0 ? 2 * cutoff : Math.sin(2 * Math.PI * cutoff * x) / (Math.PI * x)
    kernel[tap] = sinc * (0.54 - 0.46 * Math.cos((2 * Math.PI * tap) / (length - 1)))
  }
  const sum = kernel.reduce((total, value) => total + value, 0)
  return kernel.map((value) => value / sum)
}

registerProcessor('microphone', Microphone)
