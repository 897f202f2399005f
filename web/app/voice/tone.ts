/** Three soft notes, so that one hears where the sound comes from. Resolves when they are over. */
export function playTone(context: AudioContext): Promise<void> {
  const notes = [392, 523.25, 659.25]
  const seconds = 0.22
  const now = context.currentTime + 0.05
  const volume = new GainNode(context, { gain: 0 })
  volume.connect(context.destination)
  const tone = new OscillatorNode(context, { type: 'sine' })
  for (const [at, frequency] of notes.entries()) {
    const from = now + at * seconds
    tone.frequency.setValueAtTime(frequency, from)
    volume.gain.setTargetAtTime(0.25, from, 0.02)
    volume.gain.setTargetAtTime(0, from + seconds * 0.6, 0.04)
  }
  tone.connect(volume)
  tone.start(now)
  tone.stop(now + notes.length * seconds + 0.2)
  return new Promise((settle) => {
    tone.onended = () => {
      volume.disconnect()
      settle()
    }
  })
}
