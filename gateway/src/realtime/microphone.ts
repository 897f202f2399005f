/** From the sound that a client sends to what it means: kept for Whisper, listened to for voice activity. */
import { inputSampleRate } from '#protocol/frame.ts'
import { createInputAudio, type InputAudio } from './input-audio.ts'
import { createTurns, type TurnEvent, type TurnSettings } from './turns.ts'
import { frameSamples, type Listener } from './voice-activity.ts'

export interface Microphone {
  readonly audio: Pick<InputAudio, 'position' | 'slice' | 'forget'>
  /** How far it was listened to: behind what came, where much comes at once. In samples. */
  readonly listened: number
  /** How long the silence of a turn has lasted, ms. */
  readonly silence: number
  /** Takes PCM16 mono at 16 kHz that follows what came before. */
  hear(samples: Int16Array): void
  /** null: turns are not looked for. */
  configure(settings: TurnSettings | null): void
  /** Forgets a turn that is going on. */
  reset(): void
  close(): void
  /** Whether there was speech after this place; resolves when all that came has been listened to. */
  spokeSince(position: number): Promise<boolean>
}

/** Soft speech that was meant: the button was held for it. */
const softSpeech = 0.3

/**
 * @param onTurn called in order with what happens, at places in samples
 * @param onFailure called once where listening fails: nothing is heard any more
 */
export function createMicrophone(
  listener: Listener,
  onTurn: (event: TurnEvent) => void,
  onFailure: (error: unknown) => void,
): Microphone {
  const audio = createInputAudio()
  let frame: Float32Array = new Float32Array(frameSamples)
  const waiting: Float32Array[] = []
  /** Frames that were listened to, for the next ones. */
  const heard: Float32Array[] = []
  let filled = 0
  let turns: ReturnType<typeof createTurns> | undefined
  let lastSpeech = -1
  let listened = 0
  let listening: Promise<void> | undefined
  let deaf = false

  const fail = (error: unknown): void => {
    if (deaf) return
    deaf = true
    waiting.length = 0
    onFailure(error)
  }
  const listen = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const likely = await listener.hear(next)
      heard.push(next)
      listened += frameSamples
      if (likely >= softSpeech) lastSpeech = listened
      for (const event of turns?.hear(likely) ?? []) onTurn(event)
    }
    listening = undefined
  }
  return {
    audio,
    get listened() {
      return listened
    },
    get silence() {
      return turns?.silence ?? 0
    },
    hear(samples) {
      audio.append(samples)
      if (deaf) {
        listened = audio.position
        return
      }
      for (let at = 0; at < samples.length;) {
        const count = Math.min(frameSamples - filled, samples.length - at)
        for (let offset = 0; offset < count; offset += 1)
          frame[filled + offset] = (samples[at + offset] ?? 0) / 32_768
        filled += count
        at += count
        if (filled < frameSamples) break
        waiting.push(frame)
        frame = heard.pop() ?? new Float32Array(frameSamples)
        filled = 0
      }
      if (waiting.length > 0) listening ??= listen().catch(fail)
    },
    configure(settings) {
      if (!settings) turns = undefined
      else if (turns) turns.configure(settings)
      else turns = createTurns(settings, (listened * 1000) / inputSampleRate)
    },
    reset: () => turns?.reset(),
    close() {
      deaf = true
      waiting.length = 0
      listener.close()
    },
    async spokeSince(position) {
      await listening
      // Who can't be listened to may have spoken.
      return deaf || lastSpeech > position
    },
  }
}
