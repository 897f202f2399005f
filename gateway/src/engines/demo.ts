/** The engines of a gateway that found none: they say what they are in each of their answers. */
import { inputSampleRate } from '#protocol/frame.ts'
import { Failure } from '../failure.ts'
import type { ChatEngine, ChatWish, Transcriber } from './engine.ts'

/** Below this root mean square (of 32768) a recording holds no speech: a quiet room's noise is some 50. */
const quietRms = 100

export const demoModel = 'sotto-demo'

export const demoChat = {
  kind: 'demo',
  async *chat({ messages }: Pick<ChatWish, 'messages'>, signal: AbortSignal): AsyncGenerator<string> {
    const asked = messages.findLast(({ role }) => role === 'user')?.content ?? ''
    const answer =
      `[Demo] No Ollama model is connected to this gateway, so nothing thinks here. You said: “${asked.slice(0, 500)}”. ` +
      'On the gateway’s machine, install Ollama and run “ollama pull llama3.2”: the next answer is real.'
    for (const word of answer.match(/\S+\s*/g) ?? []) {
      signal.throwIfAborted()
      yield word
    }
  },
  async warm() {},
} satisfies ChatEngine

export const demoTranscriber: Transcriber = {
  kind: 'demo',
  async transcribe(samples) {
    if (rms(samples) < quietRms) return ''
    const seconds = (samples.length / inputSampleRate).toFixed(1)
    return `[Demo: ${seconds} s of sound; no speech-to-text is connected]`
  },
  async transcribeFile() {
    throw new Failure('unavailable', 'No speech-to-text is connected to this gateway now.')
  },
}

function rms(samples: Int16Array): number {
  let sum = 0
  for (const sample of samples) sum += sample * sample
  return Math.sqrt(sum / Math.max(1, samples.length))
}
