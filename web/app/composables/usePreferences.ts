const key = 'sotto.preferences'

/** The silence after which a turn is over, ms. */
export const patiences = { quick: 300, normal: 500, patient: 1_200 } as const
export type Patience = keyof typeof patiences

/** Which answers are heard: those to what was spoken, all of them, or none. */
export const spokenChoices = ['talking', 'always', 'never'] as const
type SpokenChoice = (typeof spokenChoices)[number]

/** What the gateway takes. */
export const speeds = { least: 0.5, most: 1.5 } as const

/** What a person likes on this device. */
export interface Preferences {
  /** A voice of the gateway's by its id; null for the gateway's own choice. */
  voice: string | null
  speed: number
  /** Whether one talks without touching anything. */
  handsFree: boolean
  patience: Patience
  spoken: SpokenChoice
  /** Ids of devices, as this browser gives them to this origin; null for the system's choice. */
  microphone: string | null
  speaker: string | null
  /** Whether the page shows where the time of a turn went. */
  timings: boolean
  /** Whether this device went through `/welcome`, or said that it does not want to. */
  welcomed: boolean
}

/** One object for the whole page, kept by this browser, in step with its other tabs. */
export function usePreferences(): Preferences {
  return useState('preferences', () => {
    const preferences = reactive(read(stored()))
    // For as long as the page lives, whoever asked first.
    effectScope(true).run(() => {
      watch(preferences, () => keep(preferences))
      followOtherTabs(() => Object.assign(preferences, read(stored())))
    })
    return preferences
  }).value
}

function followOtherTabs(changed: () => void): void {
  window.addEventListener('storage', (event) => event.key === key && changed())
}

function keep(preferences: Preferences): void {
  try {
    localStorage.setItem(key, JSON.stringify(preferences))
  } catch {
    // A browser that keeps nothing asks again the next time.
  }
}

function stored(): unknown {
  try {
    return JSON.parse(localStorage.getItem(key) ?? '{}')
  } catch {
    return {}
  }
}

/** Whatever stands there: what is no value of its field is left out for the default. */
export function read(value: unknown): Preferences {
  const held: Record<string, unknown> = typeof value === 'object' && value !== null ? { ...value } : {}
  return {
    voice: text(held.voice),
    speed: number(held.speed) ?? 1,
    handsFree: held.handsFree === true,
    patience: patienceNames.find((one) => one === held.patience) ?? 'normal',
    spoken: spokenChoices.find((one) => one === held.spoken) ?? 'talking',
    microphone: text(held.microphone),
    speaker: text(held.speaker),
    timings: held.timings === true,
    welcomed: held.welcomed === true,
  }
}

const patienceNames = ['quick', 'normal', 'patient'] as const satisfies readonly Patience[]

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' && value.length <= 256 ? value : null
}

function number(value: unknown): number | null {
  return typeof value === 'number' && value >= speeds.least && value <= speeds.most ? value : null
}
