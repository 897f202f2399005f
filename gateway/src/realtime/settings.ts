/** What a session is set to: OpenAI's defaults, changed field by field, told back whole. Pure. */
import type { ResponseWish, Session, SessionUpdate, TurnDetection } from '#protocol/events.ts'
import type { TurnSettings } from './turns.ts'

export type Settings = Omit<Session, 'x_caller' | 'x_conversation' | 'x_speech'>

/** @param spoken whether there is an engine that speaks the answers */
export function firstSettings(id: string, type: Session['type'], spoken: boolean): Settings {
  return {
    id,
    object: 'realtime.session',
    type,
    model: null,
    instructions: '',
    output_modalities: [spoken ? 'audio' : 'text'],
    max_output_tokens: 'inf',
    tools: [],
    tool_choice: 'auto',
    audio: {
      input: {
        format: { type: 'audio/pcm', rate: 24_000 },
        transcription: {},
        turn_detection: serverVad,
      },
      output: { format: { type: 'audio/pcm', rate: 24_000 }, voice: 'default', speed: 1 },
    },
  }
}

/** OpenAI's own defaults. */
const serverVad = {
  type: 'server_vad',
  threshold: 0.5,
  prefix_padding_ms: 300,
  silence_duration_ms: 500,
  idle_timeout_ms: null,
  create_response: true,
  interrupt_response: true,
} as const
const semanticVad = {
  type: 'semantic_vad',
  eagerness: 'auto',
  create_response: true,
  interrupt_response: true,
} as const

/** What the update leaves out stays as it is; null takes a thing away. Fields we do not know are kept. */
export function changed(settings: Settings, update: SessionUpdate): Settings {
  const { audio: { input = {}, output = {}, ...audio } = {}, ...flat } = update
  return {
    ...settings,
    ...flat,
    audio: {
      ...settings.audio,
      ...audio,
      input: {
        ...settings.audio.input,
        ...input,
        transcription:
          input.transcription === undefined
            ? settings.audio.input.transcription
            : input.transcription && { ...settings.audio.input.transcription, ...input.transcription },
        turn_detection: detection(settings.audio.input.turn_detection, input.turn_detection),
      },
      output: { ...settings.audio.output, ...output },
    },
  }
}

type Detection = NonNullable<NonNullable<SessionUpdate['audio']>['input']>['turn_detection']

function detection(now: TurnDetection | null, update: Detection): TurnDetection | null {
  if (update === undefined) return now
  if (update === null) return null
  return update.type === 'server_vad'
    ? { ...serverVad, ...(now?.type === 'server_vad' && now), ...update }
    : { ...semanticVad, ...(now?.type === 'semantic_vad' && now), ...update }
}

/** For one answer: the session's, with what it wants otherwise. */
export function forResponse(settings: Settings, wish: ResponseWish): Settings {
  const { conversation: _conversation, input: _input, metadata: _metadata, audio, ...otherwise } = wish
  return changed(settings, {
    ...otherwise,
    ...(audio?.output && { audio: { output: audio.output } }),
  })
}

/** The silences that end a turn by each eagerness, ms: where it sounds whole, and where it does not. */
const patience = {
  high: { whole: 300, most: 2_000 },
  medium: { whole: 500, most: 4_000 },
  auto: { whole: 500, most: 4_000 },
  low: { whole: 800, most: 8_000 },
} as const

/** Over an answer's sound, speech is more likely its echo. */
const overSound = 0.2

/** @param audible whether an answer is heard right now */
export function turnSettings(detect: TurnDetection, audible: boolean): TurnSettings {
  const { threshold, prefix_padding_ms, silence_duration_ms } =
    detect.type === 'server_vad'
      ? detect
      : { ...serverVad, silence_duration_ms: patience[detect.eagerness].most }
  return {
    threshold: audible ? Math.min(0.95, threshold + overSound) : threshold,
    prefixMs: prefix_padding_ms,
    silenceMs: silence_duration_ms,
  }
}

/** The silence after which a turn whose words sound whole is over, ms; undefined where words do not decide. */
export function silenceAfterWhole(detect: TurnDetection | null): number | undefined {
  return detect?.type === 'semantic_vad' ? patience[detect.eagerness].whole : undefined
}
