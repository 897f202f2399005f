/** `sotto database move`: from the files of a state directory to PostgreSQL. */
import type { Output } from '@sotto/provisioning/commands/output.ts'
import { Command } from 'commander'

export interface DatabaseDeps {
  readonly output: Output
  /** Shows a line that the next one takes the place of; false where there is no terminal. */
  live(text: string): boolean
  notice(text: string): void
}

export function databaseCommand({ output, live, notice }: DatabaseDeps): Command {
  const move = new Command('move')
    .description(
      'carry keys, people, records, conversations and rooms over to PostgreSQL; the gateway stands still',
    )
    .option(
      '--to <url>',
      'postgres://… without a password, which is in SOTTO_DATABASE_PASSWORD (default: as config.yaml says)',
    )
    .option('--state <dir>', 'state directory')
    .option('--json', 'print the result as JSON')
    .action(async (options: { to?: string; state?: string }) => {
      const { existsSync } = await import('node:fs')
      const { join } = await import('node:path')
      const { lockState, openState } = await import('@sotto/provisioning/state.ts')
      const { moveStores } = await import('@sotto/provisioning/postgres/move.ts')
      const { Problem } = await import('@sotto/provisioning/problem.ts')
      const state = openState(options.state)
      const setting = await target(options.to, state.directory)
      const sources = (await stores(state)).filter(({ file }) => existsSync(file))
      if (sources.length === 0)
        throw new Problem(
          'move_nothing',
          `There is no database in ${state.directory}.`,
          'Name its directory with --state DIR.',
        )
      const unlock = lockState(state)
      try {
        const rows = await moveStores(sources, setting, (table, done, of) => {
          if (!live(`${table}: ${done} of ${of}`) && done === of) notice(`${table}: ${of}`)
        })
        live('')
        output.result(
          { rows, database: setting.where },
          `${rows} rows are at ${setting.where}, each read back and the same. ${
            options.to === undefined
              ? 'Start the gateway.'
              : `Write this into ${join(state.directory, 'config.yaml')}, then start the gateway:\n\ndatabase: ${options.to}\n`
          }\nThe files stay as they were; take them away once you have seen that all is there.`,
        )
      } finally {
        unlock()
      }
    })
  return new Command('database').description('where the state is').addCommand(move)
}

async function target(to: string | undefined, directory: string) {
  const { databaseSetting, hasPassword, readSetting, settingOf } =
    await import('@sotto/provisioning/postgres/setting.ts')
  const { Problem } = await import('@sotto/provisioning/problem.ts')
  if (to === undefined) {
    const setting = await readSetting(directory)
    if (setting) return setting
    throw new Problem(
      'move_where',
      'Nobody said where to.',
      'Name it: ./sotto database move --to postgres://USER@HOST/NAME',
    )
  }
  const read = databaseSetting.safeParse(to)
  if (!read.success)
    throw new Problem(
      'move_where',
      `--to: ${read.error.issues[0]?.message}.`,
      'For example postgres://USER@HOST/NAME',
    )
  if (hasPassword(to))
    throw new Problem(
      'move_password',
      '--to holds a password, which others on this machine can see there.',
      'Put it into SOTTO_DATABASE_PASSWORD, or name the database in config.yaml with its passwordFile.',
    )
  return settingOf(to, process.env.SOTTO_DATABASE_PASSWORD, '--to')
}

async function stores(state: import('@sotto/provisioning/state.ts').State) {
  const { migrations: registry, schemaOf } = await import('@sotto/provisioning/database.ts')
  const { migrations: ledger } = await import('#ledger/database.ts')
  const { migrations: conversations } = await import('#conversations/database.ts')
  const { migrations: rooms } = await import('#rooms/database.ts')
  return (
    [
      [state.database, registry],
      [state.ledger, ledger],
      [state.conversations, conversations],
      [state.rooms, rooms],
    ] as const
  ).map(([file, migrations]) => ({ file, schema: schemaOf(file), migrations }))
}
