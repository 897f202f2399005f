/** The `sotto` command: the one place that sees every package. `launch.mjs` runs it with the right Node. */
import { subscribe } from 'node:diagnostics_channel'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import packageJson from './package.json' with { type: 'json' }
import { createTerminal } from './terminal.ts'

const terminal = createTerminal(process.argv.includes('--json'))
const { output, progress } = terminal
const web = async () => {
  const { ensureWeb } = await import('./web-build.ts')
  return ensureWeb(join(import.meta.dirname, 'web'), progress)
}
const itself = [process.execPath, join(import.meta.dirname, 'sotto.ts')] as const

subscribe('sotto:database-kept', (message) => {
  if (typeof message === 'object' && message !== null && 'copy' in message)
    progress.notice(`Upgraded; what was before is kept: ${String(message.copy)}`)
})

/** In the order of the help. Only the one that is asked for is loaded: most of a command's time is that. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  async up() {
    const { upCommand } = await import('@sotto/gateway/commands/up.ts')
    return upCommand({ output, progress, web, asked: terminal.asked })
  },
  status: async () => (await import('@sotto/gateway/commands/status.ts')).statusCommand(output),
  device: async () => (await import('@sotto/provisioning/commands/device.ts')).deviceCommand(output),
  network: async () => (await import('@sotto/provisioning/commands/network.ts')).networkCommand(output),
  async person() {
    const { personCommand } = await import('@sotto/provisioning/commands/person.ts')
    const { inviteCommand } = await import('@sotto/gateway/commands/invite.ts')
    return personCommand(output).addCommand(inviteCommand(output))
  },
  key: async () => (await import('@sotto/gateway/commands/key.ts')).keyCommand(output),
  tenant: async () => (await import('@sotto/gateway/commands/tenant.ts')).tenantCommand(output),
  limit: async () => (await import('@sotto/gateway/commands/limit.ts')).limitCommand(output),
  federation: async () => (await import('@sotto/gateway/commands/federation.ts')).federationCommand(output),
  usage: async () => (await import('@sotto/gateway/commands/usage.ts')).usageCommand(output),
  audit: async () => (await import('@sotto/gateway/commands/audit.ts')).auditCommand(output),
  admin: async () => (await import('@sotto/gateway/commands/admin.ts')).adminCommand(output),
  async doctor() {
    const { doctorCommand } = await import('@sotto/provisioning/commands/doctor.ts')
    const { valkey } = await import('@sotto/gateway/valkey/check.ts')
    return doctorCommand(output, [valkey])
  },
  async join() {
    const { joinCommand } = await import('@sotto/provisioning/commands/join.ts')
    return joinCommand({ output, notice: progress.notice, asked: terminal.asked })
  },
  async lend() {
    const { lendCommand } = await import('@sotto/gateway/commands/lend.ts')
    return lendCommand({
      output,
      notice: progress.notice,
      live: terminal.live,
      asked: terminal.asked,
      program: itself,
    })
  },
  async service() {
    const { serviceCommand } = await import('@sotto/gateway/commands/service.ts')
    return serviceCommand({ output, web, program: itself })
  },
  async backup() {
    const { backupCommand } = await import('@sotto/provisioning/commands/backup.ts')
    return backupCommand({ output, progress })
  },
  async restore() {
    const { restoreCommand } = await import('@sotto/provisioning/commands/backup.ts')
    return restoreCommand({ output, progress })
  },
  async database() {
    const { databaseCommand } = await import('@sotto/gateway/commands/database.ts')
    return databaseCommand({ output, live: terminal.live, notice: progress.notice })
  },
  async cert() {
    const { certCommand } = await import('@sotto/certs/commands/cert.ts')
    const { openState } = await import('@sotto/provisioning/state.ts')
    return certCommand({ output, directory: ({ state }) => openState(state).certs })
  },
}

const program = new Command('sotto')
  .description('Talk to your own AI, over your own network.')
  .version(packageJson.version)
const [, , asked = ''] = process.argv
for (const [name, load] of Object.entries(commands))
  if (name === asked || !Object.hasOwn(commands, asked)) program.addCommand(await load())

for (const command of [program, ...program.commands, ...program.commands.flatMap((group) => group.commands)])
  command.exitOverride().showHelpAfterError('(--help shows what it takes)').showSuggestionAfterError()

try {
  await program.parseAsync(await argumentsOf(asked))
} catch (error) {
  // Commander has printed its own errors and help by then.
  if (error instanceof CommanderError) process.exitCode = error.exitCode
  else terminal.fail(error)
}

async function argumentsOf(name: string): Promise<string[]> {
  if (name !== 'cert') return process.argv
  const { fromMkcert } = await import('@sotto/certs/commands/cert.ts')
  return fromMkcert(process.argv)
}
