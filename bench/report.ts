/** What a bench reports: a row at a time, as soon as it is known; in the end all of them, as Markdown with charts. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { init } from 'echarts'

export interface Row {
  readonly what: string
  readonly figure: string
  /** What the figure stands beside: a peer's, or a simpler thing's, in the same run. */
  readonly beside?: string
  /** The bar, and whether it was met. */
  readonly target?: string
  /** The same as a picture. */
  readonly chart?: Chart
}

interface Chart {
  /** Of all values. */
  readonly unit: string
  /** By whose they are: ours first. */
  readonly bars: Readonly<Record<string, number>>
  /** The target, as a line across. */
  readonly limit?: number
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

/** As Markdown. */
export function heading(name: string): string {
  return `\n## ${name}\n\n| what | figure | beside | target |\n|---|---|---|---|\n`
}
export function line({ what, figure, beside = '', target = '' }: Row): string {
  return `| ${what} | ${figure} | ${beside} | ${target} |\n`
}

/** Writes `report.md` and its pictures into a directory; resolves to the report's path. */
export async function writeReport(
  directory: string,
  machine: string,
  benches: ReadonlyMap<string, readonly Row[]>,
): Promise<string> {
  await mkdir(directory, { recursive: true })
  const all = [...benches.values()].flat()
  const missed = all.filter(({ target }) => target?.includes(met(false)))
  let text = `# What it costs\n\n${machine}\n\n${all.filter(({ target }) => target).length} figures have a target; ${missed.length} of them miss it${missed.length > 0 ? `: ${missed.map(({ what }) => what).join('; ')}` : ''}.\n`
  for (const [name, rows] of benches) {
    text += heading(name) + rows.map(line).join('')
    for (const [index, { what, chart }] of rows.entries()) {
      if (!chart) continue
      const file = `${name}-${index + 1}.svg`
      await writeFile(join(directory, file), draw(what, chart))
      text += `\n![${what}](${file})\n`
    }
  }
  const path = join(directory, 'report.md')
  await writeFile(path, text)
  return path
}

function draw(title: string, { unit, bars, limit }: Chart): string {
  const names = Object.keys(bars).toReversed()
  const chart = init(null, null, {
    renderer: 'svg',
    ssr: true,
    width: 720,
    height: 110 + 34 * names.length,
  })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: title, subtext: unit, textStyle: { fontSize: 14 } },
    grid: { top: 62, right: 70, bottom: 12, left: 12, containLabel: true },
    xAxis: {
      type: 'value',
      max: limit === undefined ? undefined : ({ max }: { max: number }) => Math.max(max, limit),
    },
    yAxis: { type: 'category', data: names },
    series: [
      {
        type: 'bar',
        data: names.map((name, index) => ({
          value: bars[name],
          itemStyle: { color: index === names.length - 1 ? '#0f766e' : '#a8a29e' },
        })),
        label: { show: true, position: 'right', formatter: ({ value }: { value: number }) => short(value) },
        ...(limit !== undefined && {
          markLine: {
            symbol: 'none',
            data: [{ xAxis: limit, label: { formatter: `target ${short(limit)}` } }],
          },
        }),
      },
    ],
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}

const short = (value: number): string =>
  new Intl.NumberFormat('en', { maximumSignificantDigits: 3 }).format(value)
