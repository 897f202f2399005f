/** The voice of espeak-ng on this machine: small, quick and in a hundred languages, but a robot's. */
import { execa } from 'execa'
import type { SpeakingVoice } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import { pcm16 } from './pcm.ts'
import { resampled } from './resample.ts'
import { languageOf, speechRate, type SayWish, type Voice } from './voice.ts'
import { readWav } from './wav.ts'

/** Words a minute at its own pace. Source: espeak-ng(1). */
const ownPace = 175
/** What it may be told as a voice, and be no path of its files. */
const asked = /^[a-z][\w+-]{0,31}$/i

export function espeak(voice = 'en'): Voice {
  return {
    kind: 'espeak-ng',
    parallel: 2,
    formats: ['wav'],
    async file(wish, signal) {
      const { stdout } = await begin(wish, voice, signal)
      return { contentType: 'audio/wav', sound: stdout }
    },
    async *sound(wish, signal) {
      const { child, stdout } = await begin(wish, voice, signal)
      const { sampleRate, bytes } = await readWav(stdout)
      yield* resampled(pcm16(bytes), sampleRate, speechRate)
      const { failed } = await child
      signal.throwIfAborted()
      if (failed) throw new Failure('bad_upstream', 'espeak-ng broke off before it had said everything.')
    },
    async voices(signal) {
      const { stdout } = await execa('espeak-ng', ['--voices'], { cancelSignal: signal })
      return voicesIn(stdout)
    },
    async close() {},
  }
}

/** A table: priority, language, age and gender, name, file. Its languages are what it is asked for by. */
function voicesIn(table: string): SpeakingVoice[] {
  return table.split('\n').flatMap((line) => {
    const [, id, name] = /^\s*\d+\s+(\S+)\s+\S+\s+(\S+)/.exec(line) ?? []
    if (id === undefined || name === undefined || !asked.test(id)) return []
    return [{ id, name: name.replaceAll('_', ' '), language: languageOf(id) }]
  })
}

/** Resolves at its first sound. */
async function begin(wish: SayWish, voice: string, signal: AbortSignal) {
  const spoken = wish.voice ?? voice
  if (!asked.test(spoken))
    throw new Failure('invalid', 'voice: espeak-ng’s voices are languages, for example "en" or "de".')
  const pace = Math.round(Math.min(Math.max(ownPace * wish.speed, 80), 450))
  const child = execa('espeak-ng', ['--stdout', '-v', spoken, '-s', String(pace)], {
    input: wish.text,
    buffer: false,
    reject: false,
    cancelSignal: signal,
    encoding: 'buffer',
  })
  const { stdout } = child
  // Readable at its end, too.
  await Promise.race([new Promise((settle) => stdout.once('readable', settle)), child])
  if (stdout.readableLength === 0) {
    const { code } = await child
    signal.throwIfAborted()
    if (code === 'ENOENT') throw new Failure('unavailable', 'espeak-ng is not installed on the gateway.')
    throw new Failure('invalid', `voice: espeak-ng has none that is called “${spoken}”.`)
  }
  return { child, stdout }
}
