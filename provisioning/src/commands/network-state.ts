/** Opens a state directory for a command, and closes it after. */
import type { Command } from 'commander'
import type { Database } from '../database.ts'
import type { Network } from '#registry/network.ts'
import type { State } from '../state.ts'

export interface CommonOptions {
  readonly state?: string
  readonly json?: boolean
}

export interface Opened {
  readonly state: State
  readonly database: Database
  readonly network: Network
}

export function common(command: Command): Command {
  return command.option('--state <dir>', 'state directory').option('--json', 'print the result as JSON')
}

export async function withNetwork(
  options: CommonOptions,
  task: (opened: Opened) => Promise<void>,
): Promise<void> {
  const { openState } = await import('#state.ts')
  const { openDatabase } = await import('#database.ts')
  const { requireNetwork } = await import('#registry/network.ts')
  const state = openState(options.state)
  const database = await openDatabase(state.database)
  try {
    await task({ state, database, network: await requireNetwork(database) })
  } finally {
    await database.destroy()
  }
}

/** Waits until a running gateway has acted on what was changed: who is told that it is done can rely on it. */
export async function acted({ state, database }: Pick<Opened, 'state' | 'database'>): Promise<void> {
  const { isServed } = await import('#state.ts')
  const { readFollowed, readRevision } = await import('#registry/network.ts')
  const revision = await readRevision(database)
  for (let waited = 0; waited < 2_000 && isServed(state); waited += 20) {
    if ((await readFollowed(database)) >= revision) return
    await new Promise((settle) => setTimeout(settle, 20))
  }
}

/** Columns as wide as their widest cell; the first row is the heading. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
