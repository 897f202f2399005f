/** On a scale of 50 dB, as the ear has it: 0 to 1. @param full the largest sample that there can be */
export function loudness(samples: Int16Array | Float32Array, full: number): number {
  let sum = 0
  for (const sample of samples) sum += sample * sample
  const rms = Math.sqrt(sum / Math.max(1, samples.length)) / full
  return Math.max(0, Math.min(1, 1 + (20 * Math.log10(rms || 1e-9)) / 50))
}
