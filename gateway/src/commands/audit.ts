/** `sotto audit`: what was asked of the gateway, by whom, and how it ended. */
import { common, table, type CommonOptions } from '@sotto/provisioning/commands/network-state.ts'
import type { Output } from '@sotto/provisioning/commands/output.ts'
import { Command } from 'commander'
import { when, withLedger } from './ledger-state.ts'

interface AuditOptions extends CommonOptions {
  readonly since: string
  readonly key?: string
  readonly device?: string
  readonly denied?: boolean
  readonly threats?: boolean
  readonly people?: boolean
  readonly prompts?: string
  readonly limit: string
}

export function auditCommand(output: Output): Command {
  return common(new Command('audit'))
    .description('requests, the newest first; or what in them looks wrong')
    .option('--since <when>', 'a date, or a time ago', '24h')
    .option('--key <name>', 'of this key alone')
    .option('--device <name>', 'of this device alone')
    .option('--denied', 'only what was refused or failed')
    .option('--threats', 'failure bursts, scans, keys in two places and the like, with what to do')
    .option('--people', 'a line for each person')
    .option('--prompts <key>', 'what a key with --log-prompts asked, and what it was answered')
    .option('--limit <n>', 'lines at the most', '50')
    .action(async (options: AuditOptions) => {
      const { readSince } = await import('@sotto/provisioning/commands/arguments.ts')
      const since = readSince(options.since).getTime()
      await withLedger(options, async (ledger) => {
        const report = { ledger, since, options }
        if (options.threats === true) return output.result(...(await threats(report)))
        if (options.people === true) return output.result(...(await people(report)))
        if (options.prompts !== undefined) return output.result(...(await prompts(report, options.prompts)))
        output.result(...(await requests(report)))
      })
    })
}

interface Report {
  readonly ledger: import('#ledger/database.ts').LedgerDatabase
  readonly since: number
  readonly options: AuditOptions
}

type Result = [data: object, text: string]

async function requests({ ledger, since, options }: Report): Promise<Result> {
  const { readAudit } = await import('#ledger/report.ts')
  const { key, device, denied } = options
  const rows = await readAudit(ledger, {
    since,
    limit: Number(options.limit),
    ...(key !== undefined && { key }),
    ...(device !== undefined && { device }),
    ...(denied !== undefined && { denied }),
  })
  const lines = rows.map((row) => [
    when(row.at),
    String(row.status),
    row.key === null ? (row.device ?? row.address) : `${row.device} (${row.key})`,
    `${row.method} ${row.path}`,
    row.model ?? row.service ?? '',
    row.refusal ?? (row.ended === 'whole' ? '' : row.ended),
    row.input_tokens + row.output_tokens === 0 ? '' : `${row.input_tokens}+${row.output_tokens}`,
    `${row.duration_ms} ms`,
  ])
  return [
    { requests: rows },
    rows.length === 0
      ? 'Nothing was asked in that time.'
      : table([['WHEN', 'STATUS', 'WHO', 'WHAT', 'MODEL', 'END', 'TOKENS', 'TOOK'], ...lines]),
  ]
}

async function threats({ ledger, since }: Report): Promise<Result> {
  const { readThreats } = await import('#ledger/report.ts')
  const found = await readThreats(ledger, since)
  return [
    { threats: found },
    found.length === 0
      ? 'Nothing looks wrong.'
      : found.map(({ at, who, why, command }) => `${when(at)}  ${who}: ${why}\n  → ${command}`).join('\n'),
  ]
}

async function people({ ledger, since }: Report): Promise<Result> {
  const { readPeople } = await import('#ledger/report.ts')
  const rows = await readPeople(ledger, since)
  const lines = rows.map((row) => [
    row.person ?? '',
    String(row.requests),
    String(row.refused),
    `${row.inputTokens}+${row.outputTokens}`,
    String(row.addresses),
    when(row.lastAt),
  ])
  return [
    { people: rows },
    table([['PERSON', 'REQUESTS', 'REFUSED', 'TOKENS', 'ADDRESSES', 'LAST'], ...lines]),
  ]
}

async function prompts({ ledger, options }: Report, key: string): Promise<Result> {
  const { readPrompts } = await import('#ledger/report.ts')
  const rows = await readPrompts(ledger, key, Number(options.limit))
  return [
    { prompts: rows },
    rows.length === 0
      ? `Nothing is kept of “${key}”. Keep it from now on with a key that has --log-prompts.`
      : rows
          .map(
            (row) =>
              `${when(row.at)}  ${row.model}, until ${when(row.expires_at)}\n${row.request}\n${row.response}`,
          )
          .join('\n\n'),
  ]
}
