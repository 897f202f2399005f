/** The ledger of a running gateway, and what decides by it: budgets, admission, and what is open. */
import type { State } from '@sotto/provisioning/state.ts'
import type { Registry } from 'prom-client'
import type { Logger } from 'pino'
import { createAdmission, type Admission } from '#admission/admission.ts'
import { createBudgets, type Spent } from '#admission/budgets.ts'
import { createRates } from '#admission/rates.ts'
import { createSharedBudgets } from '#admission/shared-budgets.ts'
import { createSharedRates } from '#admission/shared-rates.ts'
import type { Member } from '#identity/caller.ts'
import type { Valkey } from '#valkey/valkey.ts'
import type { GatewayConfig } from '../config.ts'
import { databaseAway, Failure } from '../failure.ts'
import { openLedgerDatabase, type LedgerDatabase } from './database.ts'
import { createLedger, type Ledger } from './ledger.ts'
import { createMetrics } from './metrics.ts'
import type { Open, Recorder } from './record.ts'
import { createReports, type Reports } from './reports.ts'

export interface Records {
  readonly admission: Admission
  readonly recorder: Recorder
  readonly metrics: Registry
  readonly reports: Reports
  /** Tokens of the budgets of a tenant, key or device that are spent, or on their way. */
  spent(subject: string): Promise<Spent>
  /** Takes a person's name out of what was written; see `Ledger`. */
  readonly forget: Ledger['forget']
  /** Whether what happens can be written down. */
  healthy(): boolean
  /** Ends what is open of these callers. */
  endWhere(gone: (caller: Member) => boolean): void
  /** Resolves when everything so far is on disk. */
  flush(): Promise<void>
  close(): Promise<void>
}

/** What could not be written down is not begun: until then its row waits in memory. */
function whileWritten(admission: Admission, ledger: Pick<Ledger, 'away' | 'crowded'>): Admission {
  return {
    ...admission,
    async admit(caller, wish) {
      if (ledger.away()) throw databaseAway()
      if (ledger.crowded())
        throw new Failure(
          'unavailable',
          'What happens can’t be written down now, so nothing is begun. The gateway’s admin sees why: ./sotto doctor',
          undefined,
          { retryAfter: 5 },
        )
      return admission.admit(caller, wish)
    },
  }
}

export async function openRecords(
  { file }: GatewayConfig,
  state: Pick<State, 'ledger'> & { readonly gateway: string },
  log: Logger,
  valkey?: Valkey,
): Promise<Records> {
  const database = await openLedgerDatabase(state.ledger)
  const spending = await database.selectFrom('spending').selectAll().execute()
  if (!valkey) await database.destroy()
  const ledger = createLedger({
    file: state.ledger,
    gateway: state.gateway,
    keepMs: file.auditDays * 86_400_000,
    log,
  })
  const metrics = createMetrics()
  const open = new Set<Open>()
  const reports = createReports(state.ledger)
  const shared =
    valkey &&
    createSharedBudgets(valkey, (subject, window) => othersOf(database, state.gateway, subject, window))
  const budgets = createBudgets(
    ledger,
    Object.groupBy(spending, ({ gateway }) => (gateway === state.gateway ? 'own' : 'others')),
    shared,
  )
  const rates = valkey ? createSharedRates(valkey) : createRates()
  return {
    admission: whileWritten(createAdmission(budgets, rates), ledger),
    recorder: {
      ledger,
      metrics,
      opened(one) {
        open.add(one)
        return () => open.delete(one)
      },
    },
    metrics: metrics.registry,
    reports,
    spent: budgets.spent,
    forget: ledger.forget,
    healthy: ledger.healthy,
    endWhere(gone) {
      for (const one of open) if (gone(one.caller)) one.end()
    },
    flush() {
      budgets.release()
      return ledger.flush()
    },
    async close() {
      await reports.close()
      budgets.release()
      await ledger.close()
      if (valkey) await database.destroy()
    },
  }
}

/** What other gateways have of a budget, by their ids. Throws a `Failure`. */
async function othersOf(
  database: LedgerDatabase,
  own: string,
  subject: string,
  window: string,
): Promise<[gateway: string, tokens: number][]> {
  try {
    const rows = await database
      .selectFrom('spending')
      .select(['gateway', 'used', 'held'])
      .where('subject', '=', subject)
      .where('window', '=', window)
      .where('gateway', '!=', own)
      .execute()
    return rows.map(({ gateway, used, held }) => [gateway, used + held])
  } catch (error) {
    throw new Failure('unavailable', 'What is spent can’t be read now, so nothing is spent.', error, {
      retryAfter: 5,
    })
  }
}
