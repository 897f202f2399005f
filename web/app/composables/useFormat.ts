const steps = [
  ['second', 1, 60],
  ['minute', 60, 3_600],
  ['hour', 3_600, 86_400],
  ['day', 86_400, 30 * 86_400],
  ['month', 30 * 86_400, 365 * 86_400],
  ['year', 365 * 86_400, Infinity],
] as const
const wholes = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
] as const
const sizes = ['kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const

/** Dates, durations and sizes in the chosen language. What `ago` says stays true while it is in sight. */
export function useFormat() {
  const { locale } = useI18n()
  const now = useNow()
  const relative = computed(() => new Intl.RelativeTimeFormat(locale.value, { numeric: 'auto' }))
  const dates = computed(
    () => new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium', timeStyle: 'short' }),
  )

  /** “3 minutes ago”, “in 2 days” */
  function ago(iso: string): string {
    const seconds = (Date.parse(iso) - now.value) / 1000
    const [unit, size] = steps.find(([, , below]) => Math.abs(seconds) < below) ?? steps[5]
    return relative.value.format(Math.round(seconds / size), unit)
  }

  function moment(iso: string): string {
    return dates.value.format(Date.parse(iso))
  }

  /** “2:05 PM”: of today. */
  function time(iso: string): string {
    return new Intl.DateTimeFormat(locale.value, { timeStyle: 'short' }).format(Date.parse(iso))
  }

  /** “7 days”, “1 hour”: in the largest unit of which it is a whole number. */
  function duration(ms: number): string {
    const seconds = Math.round(ms / 1000)
    const [unit, size] = wholes.find(([, each]) => seconds % each === 0) ?? wholes[3]
    return new Intl.NumberFormat(locale.value, { style: 'unit', unit, unitDisplay: 'long' }).format(
      seconds / size,
    )
  }

  function number(count: number): string {
    return new Intl.NumberFormat(locale.value).format(count)
  }

  /** “1.2 MB” */
  function bytes(count: number): string {
    // Intl has no short word for bytes.
    if (count < 1000) return `${number(Math.round(count))} B`
    const power = Math.min(Math.floor(Math.log10(count) / 3), sizes.length)
    return new Intl.NumberFormat(locale.value, {
      style: 'unit',
      unit: sizes[power - 1] ?? 'kilobyte',
      unitDisplay: 'short',
      maximumFractionDigits: 1,
    }).format(count / 1000 ** power)
  }

  return { now, ago, moment, time, duration, number, bytes }
}

/** Milliseconds, each second anew. */
function useNow(): Ref<number> {
  const now = ref(Date.now())
  const clock = setInterval(() => (now.value = Date.now()), 1_000)
  onScopeDispose(() => clearInterval(clock))
  return now
}
