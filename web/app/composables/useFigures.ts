/** Amounts, shares, times and days of what was written down, in the chosen language. */
export function useFigures() {
  const { locale } = useI18n()
  const format = computed(() => {
    const time = { hour: 'numeric', minute: '2-digit', second: '2-digit' } as const
    return {
      compact: new Intl.NumberFormat(locale.value, { notation: 'compact', maximumFractionDigits: 1 }),
      percent: new Intl.NumberFormat(locale.value, { style: 'percent', maximumFractionDigits: 0 }),
      time: new Intl.DateTimeFormat(locale.value, time),
      date: new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium' }),
      dateAndTime: new Intl.DateTimeFormat(locale.value, { day: 'numeric', month: 'short', ...time }),
      exact: new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium', timeStyle: 'medium' }),
      utc: new Intl.DateTimeFormat(locale.value, {
        day: 'numeric',
        month: 'short',
        ...time,
        timeZone: 'UTC',
        timeZoneName: 'short',
      }),
      day: new Intl.DateTimeFormat(locale.value, { day: 'numeric', month: 'short', timeZone: 'UTC' }),
    }
  })

  /** “12.4K” */
  const compact = (amount: number): string => format.value.compact.format(amount)
  const percent = (part: number): string => format.value.percent.format(part)
  const date = (iso: string): string => format.value.date.format(Date.parse(iso))
  /** A day of UTC, `2026-11-21`. */
  const day = (name: string): string => format.value.day.format(Date.parse(name))
  const exact = (iso: string): string => format.value.exact.format(Date.parse(iso))
  const utc = (iso: string): string => format.value.utc.format(Date.parse(iso))

  /** To the second; with its day where that is not today. */
  function when(iso: string): string {
    const at = new Date(iso)
    const today = at.toDateString() === new Date().toDateString()
    return (today ? format.value.time : format.value.dateAndTime).format(at)
  }

  /** “85 ms”, “1.2 sec”, “3.5 min” */
  function lasting(ms: number): string {
    const [amount, unit] =
      ms < 1_000
        ? ([ms, 'millisecond'] as const)
        : ms < 60_000
          ? ([ms / 1_000, 'second'] as const)
          : ([ms / 60_000, 'minute'] as const)
    const style = {
      style: 'unit',
      unit,
      unitDisplay: 'short',
      maximumFractionDigits: ms < 1_000 ? 0 : 1,
    } as const
    return new Intl.NumberFormat(locale.value, style).format(amount)
  }

  return { compact, percent, date, day, exact, utc, when, lasting }
}
