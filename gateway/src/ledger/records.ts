/** The ledger of a running gateway, and what decides by it: budgets, admission, and what is open. */
import type { State } from '@sotto/provisioning/state.ts'
import type { Registry } from 'prom-client'
import type { Logger } from 'pino'
import { createAdmission, type Admission } from '#admission/admission.ts'
import { createBudgets } from '#admission/budgets.ts'
import type { Member } from '#identity/caller.ts'
import type { GatewayConfig } from '../config.ts'
import { openLedgerDatabase } from './database.ts'
import { createLedger } from './ledger.ts'
import { createMetrics } from './metrics.ts'
import type { Open, Recorder } from './record.ts'

export interface Records {
  readonly admission: Admission
  readonly recorder: Recorder
  readonly metrics: Registry
  /** Whether what happens can be written down. */
  healthy(): boolean
  /** Ends what is open of these callers. */
  endWhere(gone: (caller: Member) => boolean): void
  /** Resolves when everything so far is on disk. */
  flush(): Promise<void>
  close(): Promise<void>
}

export async function openRecords(
  { file }: GatewayConfig,
  state: Pick<State, 'ledger'>,
  log: Logger,
): Promise<Records> {
  const database = await openLedgerDatabase(state.ledger)
  const spending = await database.selectFrom('spending').selectAll().execute()
  await database.destroy()
  const ledger = createLedger({ file: state.ledger, keepMs: file.auditDays * 86_400_000, log })
  const metrics = createMetrics()
  const open = new Set<Open>()
  const budgets = createBudgets(ledger, spending)
  return {
    admission: createAdmission(budgets),
    recorder: {
      ledger,
      metrics,
      opened(one) {
        open.add(one)
        return () => open.delete(one)
      },
    },
    metrics: metrics.registry,
    healthy: ledger.healthy,
    endWhere(gone) {
      for (const one of open) if (gone(one.caller)) one.end()
    },
    flush() {
      budgets.release()
      return ledger.flush()
    },
    close() {
      budgets.release()
      return ledger.close()
    },
  }
}
