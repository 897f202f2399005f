/** What a bench reports: a row at a time, as soon as it is known. */
interface Row {
  readonly what: string
  readonly figure: string
  /** What the figure stands beside: a peer's, or a simpler thing's, in the same run. */
  readonly beside?: string
  /** The bar, and whether it was met. */
  readonly target?: string
}

export type Bench = (report: (row: Row) => void) => Promise<void>

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN
}

/** Milliseconds that a task takes. */
export async function time(task: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await task()
  return performance.now() - start
}

export const met = (is: boolean): string => (is ? 'met' : 'NOT met')
