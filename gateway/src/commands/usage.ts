/** `sotto usage`: requests and tokens, by whatever one wants them by. */
import { common, table, type CommonOptions } from '@sotto/provisioning/commands/network-state.ts'
import type { Output } from '@sotto/provisioning/commands/output.ts'
import { Command, Option } from 'commander'
import { dimensions, readUsage, type Dimension } from '#ledger/report.ts'
import { withLedger } from './ledger-state.ts'

const bar = '█'
const barWidth = 24

export function usageCommand(output: Output): Command {
  return common(new Command('usage'))
    .description('requests and tokens, per tenant, person, device, key, model, service or day')
    .addOption(new Option('--by <what>', 'what a line stands for').choices(dimensions).default('day'))
    .option('--since <when>', 'a date, or a time ago; days are UTC’s', '30d')
    .action(async (options: CommonOptions & { by: Dimension; since: string }) => {
      const { readSince } = await import('@sotto/provisioning/commands/arguments.ts')
      const since = readSince(options.since).toISOString().slice(0, 10)
      await withLedger(options, async (ledger) => {
        const usage = await readUsage(ledger, options.by, since)
        const most = Math.max(1, ...usage.map((one) => one.inputTokens + one.outputTokens))
        const lines = usage.map((one) => [
          one.name === '' ? '–' : one.name,
          String(one.requests),
          String(one.inputTokens),
          String(one.outputTokens),
          bar.repeat(Math.round((barWidth * (one.inputTokens + one.outputTokens)) / most)),
        ])
        output.result(
          { by: options.by, since, usage },
          usage.length === 0
            ? 'Nothing was used in that time.'
            : table([[options.by.toUpperCase(), 'REQUESTS', 'INPUT', 'OUTPUT', ''], ...lines]),
        )
      })
    })
}
