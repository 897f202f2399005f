/** `sotto service`: the gateway as a service of this machine. */
import type { Output } from '@sotto/provisioning/commands/output.ts'
import { Command } from 'commander'
import { whoStarts, withUpOptions } from './up.ts'

export interface ServiceDeps {
  readonly output: Output
  /** Builds the web app where it is stale. */
  web(): Promise<string>
  /** Node and `sotto.ts`, absolute. */
  readonly program: readonly [string, string]
}

export function serviceCommand({ output, web, program }: ServiceDeps): Command {
  const service = new Command('service').description(
    'run the gateway from now on, as a user of its own with no right but its network’s (Linux, systemd)',
  )
  withUpOptions(service.command('install'))
    .description('make it one, or take up other options and a new version; takes what `sotto up` takes')
    .option('--json', 'print the result as JSON')
    .action(async (options: Record<string, unknown>) => {
      const { readConfig } = await import('#config.ts')
      const { installGateway } = await import('#daemon/gateway.ts')
      const config = readConfig({ ...options, admin: options.admin ?? (await whoStarts()) })
      const done = await installGateway(config, program, web)
      if (done.failures.length > 0) process.exitCode = 1
      output.result({ installed: done.failures.length === 0, ...done }, installed(done))
    })
  service
    .command('uninstall')
    .description('end it; keys, devices and conversations stay')
    .option('--json', 'print the result as JSON')
    .action(async () => {
      const { uninstallGateway } = await import('#daemon/gateway.ts')
      const done = await uninstallGateway()
      output.result(
        { uninstalled: true, ...done },
        [
          ...done.failures.map((text) => `✘ ${text}`),
          `The gateway is no service any more. ${done.state} is root’s again: sudo npm start -- --state ${done.state}`,
          'Its user stays, so that nobody else gets its number: sudo userdel sotto',
        ].join('\n'),
      )
    })
  service
    .command('status')
    .description('whether it is one, and how it is')
    .option('--json', 'print the result as JSON')
    .action(async () => {
      const { gatewayService } = await import('#daemon/gateway.ts')
      const status = await gatewayService()
      const { active, installed: is, restarts, says, since, state } = status
      output.result(
        status,
        is
          ? [
              `Service    ${active ?? 'unknown to systemd'}${since === null ? '' : ` since ${since}`}, restarted ${restarts ?? 0} times`,
              ...(says === null ? [] : [`           ${says}`]),
              `State      ${state}`,
              'Log        journalctl -u sotto',
            ].join('\n')
          : 'The gateway is no service here: sudo ./sotto service install',
      )
    })
  return service
}

type Installed = Awaited<ReturnType<typeof import('#daemon/gateway.ts').installGateway>>

function installed({ state, given, failures, capabilities }: Installed): string {
  const rights = capabilities.length === 0 ? 'no capability' : capabilities.join(' and ')
  return [
    'Wrote /etc/systemd/system/sotto.service: user sotto, ' + rights,
    ...(given === 0
      ? []
      : [
          `${state} belongs to the user sotto now. To go back: sudo ./sotto service uninstall, which gives it back to root.`,
        ]),
    ...(failures.length === 0
      ? [
          'The gateway runs, and starts with the machine.',
          'Add       sudo ./sotto device add NAME',
          'Look      sudo ./sotto service status; journalctl -u sotto',
        ]
      : [...failures.map((text) => `✘ ${text}`), 'It says why: journalctl -u sotto -n 30']),
  ].join('\n')
}
