/** Whether something stays as it is: the slope of what was seen of it. */

export interface Point {
  readonly minutes: number
  readonly value: number
}

/** By least squares, a minute. */
export function slopeOf(points: readonly Point[]): number {
  const middle = mean(points.map(({ minutes }) => minutes))
  const level = mean(points.map(({ value }) => value))
  const [over, under] = [
    points.reduce((sum, { minutes, value }) => sum + (minutes - middle) * (value - level), 0),
    points.reduce((sum, { minutes }) => sum + (minutes - middle) ** 2, 0),
  ]
  return over / under
}

/** Without the first quarter, in which what is compiled, pooled and remembered comes to be. */
export function warm<T extends { readonly minutes: number }>(all: readonly T[], minutes: number): T[] {
  return all.filter((one) => one.minutes >= minutes / 4)
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
