/** What the ledger says, asked by people: rows of the audit, and usage by whatever one wants it by. */
import type { LedgerDatabase } from './database.ts'

export interface AuditFilter {
  /** Milliseconds since the epoch. */
  readonly since: number
  readonly key?: string
  readonly device?: string
  /** Only what was refused or failed. */
  readonly denied?: boolean
  readonly limit: number
}

/** The newest first. */
export async function readAudit(database: LedgerDatabase, filter: AuditFilter) {
  let query = database.selectFrom('audit').selectAll().where('at', '>=', filter.since)
  if (filter.key !== undefined) query = query.where('key', '=', filter.key)
  if (filter.device !== undefined) query = query.where('device', '=', filter.device)
  if (filter.denied === true) query = query.where('status', '>=', 400)
  return query.orderBy('at', 'desc').orderBy('id', 'desc').limit(filter.limit).execute()
}

export const dimensions = ['tenant', 'person', 'device', 'key', 'model', 'service', 'day'] as const
export type Dimension = (typeof dimensions)[number]

export interface UsageLine {
  readonly name: string
  readonly requests: number
  readonly inputTokens: number
  readonly outputTokens: number
}

/** @param since the first day, `2026-11-21` */
export async function readUsage(
  database: LedgerDatabase,
  by: Dimension,
  since: string,
): Promise<UsageLine[]> {
  const rows = await database
    .selectFrom('usage')
    .select((_) => [
      _.ref(by).as('name'),
      _.fn.sum<number>('requests').as('requests'),
      _.fn.sum<number>('input_tokens').as('inputTokens'),
      _.fn.sum<number>('output_tokens').as('outputTokens'),
    ])
    .where('day', '>=', since)
    .groupBy(by)
    .execute()
  return by === 'day'
    ? rows.toSorted((one, other) => one.name.localeCompare(other.name))
    : rows.toSorted((one, other) => total(other) - total(one))
}

function total({ inputTokens, outputTokens }: UsageLine): number {
  return inputTokens + outputTokens
}

/** Per person: how much, how often refused, when last, from where. */
export async function readPeople(database: LedgerDatabase, since: number) {
  return database
    .selectFrom('audit')
    .select((_) => [
      'person',
      _.fn.countAll<number>().as('requests'),
      _.fn.sum<number>(_.case().when('status', '>=', 400).then(1).else(0).end()).as('refused'),
      _.fn.sum<number>('input_tokens').as('inputTokens'),
      _.fn.sum<number>('output_tokens').as('outputTokens'),
      _.fn.max('at').as('lastAt'),
      _.fn.count<number>('address').distinct().as('addresses'),
    ])
    .where('at', '>=', since)
    .where('person', 'is not', null)
    .groupBy('person')
    .orderBy('requests', 'desc')
    .execute()
}

/** By key id: when and from where it was used last. */
export async function readKeyUses(
  database: LedgerDatabase,
): Promise<Map<string, { readonly lastAt: number; readonly address: string; readonly requests: number }>> {
  const rows = await database.selectFrom('key_uses').selectAll().orderBy('last_at').execute()
  const found = new Map<string, { lastAt: number; address: string; requests: number }>()
  for (const row of rows)
    found.set(row.key_id, {
      lastAt: row.last_at,
      address: row.address,
      requests: row.requests + (found.get(row.key_id)?.requests ?? 0),
    })
  return found
}

/** Tokens that are spent or on their way, by subject and window with a space between them. */
export async function readSpending(database: LedgerDatabase): Promise<Map<string, number>> {
  const rows = await database.selectFrom('spending').selectAll().execute()
  return new Map(rows.map(({ subject, window, used, held }) => [`${subject} ${window}`, used + held]))
}

/** The prompts that a key keeps, the newest first; what is past its time is not there any more. */
export async function readPrompts(database: LedgerDatabase, key: string, limit: number) {
  return database
    .selectFrom('prompts')
    .selectAll()
    .where('key', '=', key)
    .where('expires_at', '>', Date.now())
    .orderBy('at', 'desc')
    .limit(limit)
    .execute()
}
