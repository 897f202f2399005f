/** `sotto join`: makes this machine a device of a network, and keeps it one. */
import { Command } from 'commander'
import type { Output } from './output.ts'

export interface JoinDeps {
  readonly output: Output
  /** One line for people, while it runs. */
  notice(text: string): void
  /** Resolves when the process is asked to end. */
  asked(): Promise<void>
}

interface Options {
  readonly state: string
  readonly leave?: boolean
}

export function joinCommand({ output, notice, asked }: JoinDeps): Command {
  return new Command('join')
    .description('join a network by a one-time link, and stay in it until stopped; later without the link')
    .argument('[link]', 'from ./sotto device add NAME --link, in quotes')
    .option('--state <dir>', 'where its keys are kept', '/var/lib/sotto-joined')
    .option('--leave', 'forget the network and this device’s keys for it')
    .option('--json', 'print what was joined as JSON')
    .action(async (link: string | undefined, options: Options) => {
      const { rm } = await import('node:fs/promises')
      const { enrolByLink, keepJoined } = await import('#join/join.ts')
      const { readMembership } = await import('#join/membership.ts')
      const { Problem } = await import('#problem.ts')
      if (options.leave) {
        await rm(options.state, { recursive: true, force: true })
        output.result({ left: true }, 'Left. The admin may remove the device: ./sotto device remove NAME')
        return
      }
      const stopped = asked()
      const membership =
        link === undefined ? await readMembership(options.state) : await enrolByLink(options.state, link)
      if (!membership)
        throw new Problem(
          'not_joined',
          `This machine has joined no network (${options.state}).`,
          "Join with a link: ./sotto join 'https://…#…'",
        )
      const joined = await keepJoined(options.state, membership, {
        notice,
        failed: (error) => {
          if (process.env.SOTTO_DEBUG) notice(String(error))
        },
      })
      const { self } = membership.view
      output.result(
        {
          name: self.name,
          address4: self.address4,
          address6: self.address6,
          origin: membership.origin,
          interface: membership.interface,
          implementation: joined.implementation,
        },
        [
          `Joined as “${self.name}” at ${self.address4} and ${self.address6} (${membership.interface}, ${joined.implementation}).`,
          `Open      ${membership.origin}`,
          'Stop      Ctrl-C; go on later with: sudo ./sotto join',
        ].join('\n'),
      )
      await stopped
      await joined.close()
    })
}
