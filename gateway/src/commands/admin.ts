/** `sotto admin`: what an admin's browser needs before it may change anything. */
import { common, withNetwork, type CommonOptions } from '@sotto/provisioning/commands/network-state.ts'
import type { Output } from '@sotto/provisioning/commands/output.ts'
import type { Network } from '@sotto/provisioning/registry/network.ts'
import type { State } from '@sotto/provisioning/state.ts'
import { Command } from 'commander'

export function adminCommand(output: Output): Command {
  return new Command('admin')
    .description('let the admin’s browser change things')
    .addCommand(code(output))
    .addCommand(password(output))
    .addCommand(forget(output))
}

function code(output: Output): Command {
  return common(new Command('code'))
    .description('show a code that confirms one browser, once, within ten minutes')
    .action(async (options: CommonOptions) => {
      const { codeLifeMs, makeAdminCode } = await import('@sotto/provisioning/registry/confirmation.ts')
      await withNetwork(options, async ({ state, database, network }) => {
        const made = await makeAdminCode(database)
        const page = await pageOf(state, network)
        const until = new Date(Date.now() + codeLifeMs).toISOString()
        output.result(
          { code: made, page, until },
          `${made}\n\nGood once, for ${codeLifeMs / 60_000} minutes, on one of the admin’s devices: ${page}`,
        )
      })
    })
}

function password(output: Output): Command {
  return common(new Command('password'))
    .description('set a password that confirms as a code does; browsers that were confirmed are asked again')
    .option('--remove', 'take it away')
    .action(async (options: CommonOptions & { remove?: boolean }) => {
      const { setAdminPassword } = await import('@sotto/provisioning/registry/confirmation.ts')
      const { openState } = await import('@sotto/provisioning/state.ts')
      // Nobody shall type one for nothing.
      openState(options.state)
      const wanted = options.remove === true ? null : await readPassword()
      await withNetwork(options, async ({ database }) => {
        await setAdminPassword(database, wanted)
        output.result(
          { password: wanted !== null },
          wanted === null
            ? 'There is no password any more; codes go on: ./sotto admin code'
            : 'It is set. On the admin’s devices it confirms as a code does.',
        )
      })
    })
}

function forget(output: Output): Command {
  return common(new Command('forget'))
    .description('let no browser change anything until it is confirmed again')
    .action(async (options: CommonOptions) => {
      const { forgetConfirmations } = await import('@sotto/provisioning/registry/confirmation.ts')
      await withNetwork(options, async ({ database }) => {
        await forgetConfirmations(database)
        output.result({ forgotten: true }, 'Every browser has to be confirmed again: ./sotto admin code')
      })
    })
}

async function pageOf(state: State, network: Network): Promise<string> {
  const { readRunning } = await import('#announcement.ts')
  const { hubAddresses } = await import('@sotto/provisioning/overlay/addresses.ts')
  const port = network.gatewayPort === 443 ? '' : `:${network.gatewayPort ?? 8443}`
  const [origin = `https://${hubAddresses(network).address4}${port}`] =
    (await readRunning(state))?.origins ?? []
  return `${origin}/admin`
}

/** From the terminal, unseen and twice; else the first line of what comes in, never from the arguments. */
async function readPassword(): Promise<string> {
  if (!process.stdin.isTTY) {
    const { text } = await import('node:stream/consumers')
    return (await text(process.stdin)).split(/\r?\n/, 1)[0] ?? ''
  }
  const { default: ask } = await import('@inquirer/password')
  const { Problem } = await import('@sotto/provisioning/problem.ts')
  const first = await ask({ message: 'New password:' }, { output: process.stderr })
  if (first === (await ask({ message: 'Once more:' }, { output: process.stderr }))) return first
  throw new Problem('password', 'The two are not the same.', 'Try again.')
}
