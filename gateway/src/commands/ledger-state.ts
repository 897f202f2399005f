/** Opens the ledger of a state directory for a command, and closes it after. */
import type { CommonOptions } from '@sotto/provisioning/commands/network-state.ts'
import type { LedgerDatabase } from '#ledger/database.ts'

export async function withLedger(
  options: CommonOptions,
  task: (ledger: LedgerDatabase) => Promise<void>,
): Promise<void> {
  const { openState } = await import('@sotto/provisioning/state.ts')
  const { openLedgerDatabase } = await import('#ledger/database.ts')
  const ledger = await openLedgerDatabase(openState(options.state).ledger)
  try {
    await task(ledger)
  } finally {
    await ledger.destroy()
  }
}

/** Local time, to the second. */
export function when(at: number): string {
  const date = new Date(at - new Date(at).getTimezoneOffset() * 60_000)
  return date.toISOString().slice(0, 19).replace('T', ' ')
}
