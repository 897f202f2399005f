/** A voice: what each engine that speaks must be able to. */
import type { Readable } from 'node:stream'
import type { SpeakingVoice } from '#protocol/events.ts'

/** As OpenAI's `pcm` has it. */
export const speechRate = 24_000

export interface SayWish {
  readonly text: string
  readonly voice?: string | undefined
  /** 1 is the voice's own pace. */
  readonly speed: number
  /** Whose turn it is, where several wait. */
  readonly tenant?: string
  readonly caller?: string
}

export interface SpeechWish extends SayWish {
  /** As OpenAI names them; undefined takes what the engine makes. */
  readonly format: string | undefined
}

export interface Spoken {
  readonly contentType: string
  readonly sound: Readable
}

/** What speaks. */
export interface Voice {
  readonly kind: 'openai' | 'piper' | 'espeak-ng' | 'wyoming' | 'sherpa'
  /** How many it speaks at once without each of them stuttering. */
  readonly parallel: number
  /**
   * PCM16 mono at {@link speechRate} as it is made. Throws a `Failure`; MUST end what makes it when `signal`
   * is aborted, and MUST NOT pass a cut sound off as a whole one.
   */
  sound(wish: SayWish, signal: AbortSignal): AsyncIterable<Int16Array>
  /**
   * What it makes by itself, in its own formats; left out where it makes samples alone. Throws a `Failure`;
   * ends what makes it when `signal` is aborted.
   */
  file?(wish: SpeechWish, signal: AbortSignal): Promise<Spoken>
  /** Those that may be asked for. May throw. */
  voices(signal: AbortSignal): Promise<readonly SpeakingVoice[]>
  /** The formats that {@link file} makes, as OpenAI names them. */
  readonly formats: readonly string[]
  close(): Promise<void>
}

export interface SpeechConfig {
  readonly engine: Voice['kind']
  readonly url?: string
  readonly model?: string
  readonly voice?: string
}

/** BCP 47 for what an engine calls a language, such as `en_US`; null for what is none. */
export function languageOf(said: string | null | undefined): string | null {
  if (!said) return null
  try {
    return Intl.getCanonicalLocales(said.replaceAll('_', '-'))[0] ?? null
  } catch {
    return null
  }
}
