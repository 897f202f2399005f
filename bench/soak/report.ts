/** What a soak saw, as Markdown with a chart, and whether it stayed as it was. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { init } from 'echarts'
import { met } from '../report.ts'
import { mean, slopeOf, warm } from './flat.ts'

export interface Sample {
  readonly minutes: number
  /** Bytes; the heap after its garbage was collected, without what V8 compiled. */
  readonly rss: number
  readonly heap: number
  readonly code: number
  readonly external: number
  /** Sockets, timers, files of the process. */
  readonly open: number
  /** Of the event loop since the sample before, ms. */
  readonly late: { readonly p50: number; readonly p99: number; readonly most: number }
  readonly perSecond: number
  /** Cores that were busy with it. */
  readonly cpu: number
  /** So far. */
  readonly errors: number
}

interface Verdict {
  readonly flat: boolean
  /** For people. */
  readonly lines: readonly string[]
}

export interface Soak {
  readonly machine: string
  /** As it was told: `20m` */
  readonly wanted: string
  readonly samples: readonly Sample[]
  /** By their kinds. */
  readonly answered: Readonly<Record<string, number>>
  readonly errors: readonly string[]
  readonly verdict: Verdict
}

/**
 * What it may grow by in all of the time that counts, as a part of what it is: V8 takes and gives back memory by steps
 * of some 20 MiB. So the longer it runs, the smaller a leak is found.
 */
const mostGrowth = 0.05
const mib = 2 ** 20

/** The first quarter does not count: what is compiled, pooled and remembered comes to be in it. */
export function judge(samples: readonly Sample[], errors: readonly string[]): Verdict {
  const last = samples.at(-1)?.minutes ?? 0
  const seen = warm(samples, last)
  const grows = (what: string, value: (sample: Sample) => number) => {
    const points = seen.map((sample) => ({ minutes: sample.minutes, value: value(sample) / mib }))
    const slope = slopeOf(points)
    const most = (mostGrowth * mean(points.map((one) => one.value))) / (0.75 * last)
    const flat = slope <= most
    return {
      flat,
      line: `${what} grows by ${slope.toFixed(2)} MiB a minute, at most ${most.toFixed(2)}: ${met(flat)}`,
    }
  }
  const memory = [grows('RSS', ({ rss }) => rss), grows('The heap', ({ heap }) => heap)]
  return {
    flat: memory.every(({ flat }) => flat) && errors.length === 0,
    lines: [
      ...memory.map(({ line }) => line),
      `${errors.length} errors, at most 0: ${met(errors.length === 0)}`,
    ],
  }
}

/** Writes `soak.md` and `soak.svg` into a directory; resolves to the report's path. */
export async function writeSoak(directory: string, soak: Soak): Promise<string> {
  await mkdir(directory, { recursive: true })
  await writeFile(join(directory, 'soak.svg'), draw(soak.samples))
  const path = join(directory, 'soak.md')
  await writeFile(path, text(soak))
  return path
}

function text({ machine, wanted, samples, answered, errors, verdict }: Soak): string {
  const seen = warm(samples, samples.at(-1)?.minutes ?? 0)
  const range = (value: (sample: Sample) => number, unit: string, divide = 1): string => {
    const values = seen.map((sample) => value(sample) / divide)
    return `${mean(values).toFixed(1)} (${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)}) ${unit}`
  }
  const rows = [
    ['RSS', range((one) => one.rss, 'MiB', mib)],
    ['heap, after its garbage was collected', range((one) => one.heap, 'MiB', mib)],
    ['what V8 compiled', range((one) => one.code, 'MiB', mib)],
    ['external', range((one) => one.external, 'MiB', mib)],
    ['sockets, timers and files', range((one) => one.open, '')],
    ['event loop late, p50', range((one) => one.late.p50, 'ms')],
    ['event loop late, p99', range((one) => one.late.p99, 'ms')],
    ['event loop late, most', range((one) => one.late.most, 'ms')],
    ['answers a second', range((one) => one.perSecond, '')],
    ['CPU', range((one) => one.cpu, 'cores')],
  ]
  return `# ${wanted} in use

${machine}

${verdict.lines.map((line) => `- ${line}`).join('\n')}

![Memory, event loop and answers over time](soak.svg)

From each 5 s, without the first quarter: mean (least to most).

| what | figure |
|---|---|
${rows.map(([what, figure]) => `| ${what} | ${figure} |`).join('\n')}

| what was answered | how often |
|---|---|
${Object.entries(answered)
  .map(([kind, count]) => `| ${kind} | ${count} |`)
  .join('\n')}
${errors.length > 0 ? `\n## Errors\n\n${errors.map((error) => `- ${error.replaceAll('\n', ' ')}`).join('\n')}\n` : ''}`
}

type Line = readonly [name: string, value: (sample: Sample) => number]

const panels: readonly { readonly unit: string; readonly lines: readonly Line[] }[] = [
  {
    unit: 'MiB',
    lines: [
      ['RSS', ({ rss }) => rss / mib],
      ['heap', ({ heap }) => heap / mib],
      ['compiled', ({ code }) => code / mib],
      ['external', ({ external }) => external / mib],
    ],
  },
  {
    unit: 'ms late',
    lines: [
      ['p50', ({ late }) => late.p50],
      ['p99', ({ late }) => late.p99],
      ['most', ({ late }) => late.most],
    ],
  },
  {
    unit: 'a second',
    lines: [['answers', ({ perSecond }) => perSecond]],
  },
  { unit: 'so far', lines: [['errors', ({ errors }) => errors]] },
]
const panelHeight = 170

function draw(samples: readonly Sample[]): string {
  const chart = init(null, null, {
    renderer: 'svg',
    ssr: true,
    width: 900,
    height: 60 + panels.length * panelHeight,
  })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    legend: { top: 8 },
    grid: panels.map((_, index) => ({
      left: 70,
      right: 24,
      top: 60 + index * panelHeight,
      height: panelHeight - 60,
    })),
    xAxis: panels.map((_, index) => ({
      type: 'value',
      gridIndex: index,
      min: 0,
      max: samples.at(-1)?.minutes,
      axisLabel: { formatter: '{value} min' },
    })),
    yAxis: panels.map(({ unit }, index) => ({ type: 'value', gridIndex: index, name: unit })),
    series: panels.flatMap(({ lines }, index) =>
      lines.map(([name, value]) => ({
        type: 'line',
        name,
        xAxisIndex: index,
        yAxisIndex: index,
        showSymbol: false,
        data: samples.map((sample) => [sample.minutes, value(sample)]),
      })),
    ),
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}
