/**
 * What Prometheus reads of requests, by the names of OpenTelemetry's GenAI conventions, which are in
 * development: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Timings } from '#protocol/events.ts'
import type { AuditRow } from './ledger.ts'

export interface Metrics {
  readonly registry: Registry
  observe(row: AuditRow): void
  /** Where the time of a turn of speech went. */
  talked(timings: Timings): void
}

/** As the conventions advise. */
const seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
const tokens = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576]

/** What one service, model and kind of answer adds to; looked up once, since labels cost more than sums. */
interface Series {
  requests: { inc(): void }
  duration: { observe(value: number): void }
  firstToken: { observe(value: number): void }
  input: { observe(value: number): void }
  output: { observe(value: number): void }
}

/** Model names come from our own list, so there are not more than that. */
const operations: Readonly<Record<string, string>> = {
  chat: 'chat',
  embeddings: 'embeddings',
  realtime: 'chat',
  transcription: 'transcription',
  speech: 'speech',
  images: 'image_generation',
}

/** How many are open, asked for as it is read. */
export function gaugeOpen(
  registry: Registry,
  open: Readonly<Record<'sockets' | 'sessions', () => number>>,
): void {
  const gauge = (name: keyof typeof open, help: string): void => {
    registry.registerMetric(
      new Gauge({
        registers: [],
        name: `sotto_open_${name}`,
        help,
        collect() {
          this.set(open[name]())
        },
      }),
    )
  }
  gauge('sockets', 'Connections to the gateway’s own listener')
  gauge('sessions', 'Sessions of voice, with those whose client is away')
}

export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const names = ['gen_ai_operation_name', 'gen_ai_request_model'] as const
  const requests = new Counter({
    registers,
    name: 'sotto_requests_total',
    help: 'Requests that were answered or refused',
    labelNames: ['service', 'status', 'refusal'],
  })
  const histogram = (name: string, help: string, buckets: number[], labelNames: readonly string[] = names) =>
    new Histogram({ registers, name, help, buckets, labelNames })
  const duration = histogram(
    'gen_ai_server_request_duration_seconds',
    'From the request to the end of its answer',
    seconds,
    [...names, 'error_type'],
  )
  const firstToken = histogram(
    'gen_ai_server_time_to_first_token_seconds',
    'From the request to the first byte of its answer',
    seconds,
  )
  const usage = histogram('gen_ai_client_token_usage', 'Tokens of a request', tokens, [
    ...names,
    'gen_ai_token_type',
  ])
  const talk = histogram(
    'sotto_talk_seconds',
    'From the end of speech to each stage of its answer',
    seconds,
    ['stage'],
  )
  const series = new Map<string, Series>()
  const of = (row: AuditRow): Series => {
    const { service, model, status, refusal } = row
    const name = `${service} ${model} ${status} ${refusal}`
    const known = series.get(name)
    if (known) return known
    const labels = {
      gen_ai_operation_name: operations[service ?? ''] ?? service ?? 'none',
      gen_ai_request_model: model ?? '',
    }
    const made: Series = {
      requests: requests.labels(service ?? 'none', String(status), refusal ?? ''),
      duration: duration.labels({ ...labels, error_type: refusal ?? '' }),
      firstToken: firstToken.labels(labels),
      input: usage.labels({ ...labels, gen_ai_token_type: 'input' }),
      output: usage.labels({ ...labels, gen_ai_token_type: 'output' }),
    }
    series.set(name, made)
    return made
  }
  return {
    registry,
    talked(timings) {
      for (const [stage, ms] of Object.entries(timings))
        if (ms !== null) talk.labels(stage).observe(ms / 1000)
    },
    observe(row) {
      const one = of(row)
      one.requests.inc()
      if (row.service == null) return
      one.duration.observe(row.duration_ms / 1000)
      if (row.first_byte_ms != null) one.firstToken.observe(row.first_byte_ms / 1000)
      if (row.input_tokens > 0) one.input.observe(row.input_tokens)
      if (row.output_tokens > 0) one.output.observe(row.output_tokens)
    },
  }
}
