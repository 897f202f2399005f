/** `sotto doctor`: what is wrong, and the command that mends it. */
import { Command } from 'commander'
import type { Check, Diagnosis } from '#doctor/check.ts'
import { Problem } from '../problem.ts'
import { common, withNetwork, type CommonOptions } from './network-state.ts'
import type { Output } from './output.ts'

/** @param more checks of other packages */
export function doctorCommand(output: Output, more: readonly Check[]): Command {
  return common(new Command('doctor'))
    .description('check everything that it takes, and say what mends what is wrong')
    .option('--ollama <url>', 'as for `sotto up`')
    .option('--whisper <url>', 'as for `sotto up`')
    .action(async (options: CommonOptions & { ollama?: string; whisper?: string }) => {
      const { diagnose } = await import('#doctor/doctor.ts')
      const { databaseAway } = await import('#doctor/database.ts')
      const tell = (findings: readonly Diagnosis[]): void => {
        if (findings.some(({ status }) => status === 'failed')) process.exitCode = 1
        output.result({ findings }, findings.map(render).join('\n'))
      }
      await withNetwork(options, async (opened) =>
        tell(
          await diagnose(
            {
              ...opened,
              ollama: options.ollama ?? 'http://127.0.0.1:11434',
              whisper: options.whisper,
              now: new Date(),
            },
            more,
          ),
        ),
      ).catch((error: unknown) => {
        if (!(error instanceof Problem) || error.code !== 'database_away') throw error
        tell([databaseAway(error)])
      })
    })
}

const signs = { ok: '✔', warning: '!', failed: '✘', skipped: '·' } as const

function render({ name, status, message, remedy }: Diagnosis): string {
  return `${signs[status]} ${name.padEnd(15)} ${message}${remedy ? `\n                  → ${remedy}` : ''}`
}
