/** The `sotto` command: the one place that sees every package. `launch.mjs` runs it with the right Node. */
import { join } from 'node:path'
import { certCommand, fromMkcert } from '@sotto/certs/commands/cert.ts'
import { auditCommand } from '@sotto/gateway/commands/audit.ts'
import { keyCommand } from '@sotto/gateway/commands/key.ts'
import { limitCommand } from '@sotto/gateway/commands/limit.ts'
import { statusCommand } from '@sotto/gateway/commands/status.ts'
import { tenantCommand } from '@sotto/gateway/commands/tenant.ts'
import { upCommand } from '@sotto/gateway/commands/up.ts'
import { usageCommand } from '@sotto/gateway/commands/usage.ts'
import { backupCommand, restoreCommand } from '@sotto/provisioning/commands/backup.ts'
import { deviceCommand } from '@sotto/provisioning/commands/device.ts'
import { doctorCommand } from '@sotto/provisioning/commands/doctor.ts'
import { joinCommand } from '@sotto/provisioning/commands/join.ts'
import { networkCommand } from '@sotto/provisioning/commands/network.ts'
import { openState } from '@sotto/provisioning/state.ts'
import { Command, CommanderError } from 'commander'
import packageJson from './package.json' with { type: 'json' }
import { createTerminal } from './terminal.ts'

const terminal = createTerminal(process.argv.includes('--json'))
const { output, progress } = terminal

const program = new Command('sotto')
  .description('Talk to your own AI, over your own network.')
  .version(packageJson.version)
  .addCommand(
    upCommand({
      output,
      progress,
      web: async () => {
        const { ensureWeb } = await import('./web-build.ts')
        return ensureWeb(join(import.meta.dirname, 'web'), progress)
      },
      asked: terminal.asked,
    }),
  )
  .addCommand(statusCommand(output))
  .addCommand(deviceCommand(output))
  .addCommand(networkCommand(output))
  .addCommand(keyCommand(output))
  .addCommand(tenantCommand(output))
  .addCommand(limitCommand(output))
  .addCommand(usageCommand(output))
  .addCommand(auditCommand(output))
  .addCommand(doctorCommand(output))
  .addCommand(joinCommand({ output, notice: progress.notice, asked: terminal.asked }))
  .addCommand(backupCommand({ output, progress }))
  .addCommand(restoreCommand({ output, progress }))
  .addCommand(certCommand({ output, directory: ({ state }) => openState(state).certs }))

for (const command of [program, ...program.commands, ...program.commands.flatMap((group) => group.commands)])
  command.exitOverride().showHelpAfterError('(--help shows what it takes)').showSuggestionAfterError()

try {
  await program.parseAsync(process.argv[2] === 'cert' ? fromMkcert(process.argv) : process.argv)
} catch (error) {
  // Commander has printed its own errors and help by then.
  if (error instanceof CommanderError) process.exitCode = error.exitCode
  else terminal.fail(error)
}
