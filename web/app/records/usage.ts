/** Usage, added up by whatever one wants it by. Pure. */
import type { UsageRow } from '@sotto/gateway/protocol/admin.ts'

export const dimensions = ['model', 'person', 'device', 'key', 'tenant', 'service'] as const
export type Dimension = (typeof dimensions)[number]
export const measures = ['requests', 'tokens'] as const
export type Measure = (typeof measures)[number]

/** Names that rows must have; `''` is a name, too: of what was asked without a key, say. */
export type Wanted = Readonly<Partial<Record<Dimension, string>>>

export interface Sum {
  readonly requests: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly tokens: number
}

export interface Line extends Sum {
  readonly name: string
}

/** A name's amounts, one a day; `undefined` for all that have none of their own. */
export interface Series {
  readonly name: string | undefined
  readonly values: readonly number[]
}

const dayMs = 86_400_000

/** The days from the first to today, both of UTC. */
export function daysSince(first: string, now: number): string[] {
  const days: string[] = []
  for (let at = Date.parse(first); at <= now; at += dayMs) days.push(new Date(at).toISOString().slice(0, 10))
  return days
}

export function only(rows: readonly UsageRow[], wanted: Wanted): readonly UsageRow[] {
  return rows.filter((row) =>
    dimensions.every((dimension) => wanted[dimension] === undefined || wanted[dimension] === row[dimension]),
  )
}

export function sumOf(rows: readonly UsageRow[]): Sum {
  let [requests, inputTokens, outputTokens] = [0, 0, 0]
  for (const row of rows) {
    requests += row.requests
    inputTokens += row.inputTokens
    outputTokens += row.outputTokens
  }
  return { requests, inputTokens, outputTokens, tokens: inputTokens + outputTokens }
}

/** One for each name, the largest first. */
export function linesBy(rows: readonly UsageRow[], by: Dimension, measure: Measure): Line[] {
  return [...Map.groupBy(rows, (row) => row[by])]
    .map(([name, own]) => ({ name, ...sumOf(own) }))
    .toSorted((one, other) => other[measure] - one[measure] || one.name.localeCompare(other.name))
}

/** The amounts of each day: of the largest names apart, of the others together. */
export function seriesBy(
  rows: readonly UsageRow[],
  { by, measure, days, apart }: { by: Dimension; measure: Measure; days: readonly string[]; apart: number },
): Series[] {
  const names = linesBy(rows, by, measure).map(({ name }) => name)
  // One alone is no “others”.
  const shown = new Set(names.length > apart + 1 ? names.slice(0, apart) : names)
  const groups = Map.groupBy(rows, (row) => (shown.has(row[by]) ? row[by] : undefined))
  return [...shown, ...(names.length > shown.size ? [undefined] : [])].map((name) => {
    const byDay = Map.groupBy(groups.get(name) ?? [], ({ day }) => day)
    return { name, values: days.map((day) => sumOf(byDay.get(day) ?? [])[measure]) }
  })
}

/** Each day and name that was used, as rows for a file. */
export function dailyLines(rows: readonly UsageRow[], by: Dimension) {
  return [...Map.groupBy(rows, ({ day }) => day)]
    .toSorted(([one], [other]) => one.localeCompare(other))
    .flatMap(([day, own]) => linesBy(own, by, 'tokens').map((line) => ({ day, ...line })))
}
