/** What the ledger says, asked by people: rows of the audit, and usage by whatever one wants it by. */
import type { Selectable } from 'kysely'
import type { AuditTable, LedgerDatabase, UsageTable } from './database.ts'
import { findThreats, type Threat } from './threats.ts'

export interface AuditFilter {
  /** Milliseconds since the epoch; left out, all that are kept. */
  readonly since?: number
  readonly key?: string
  readonly device?: string
  readonly person?: string
  readonly service?: string
  /** Only what was refused or failed. */
  readonly denied?: boolean
  /** Those that follow this one. */
  readonly before?: { readonly at: number; readonly id: number }
  readonly limit: number
}

export type AuditEntry = Selectable<AuditTable>

/** The newest first. */
export async function readAudit(database: LedgerDatabase, filter: AuditFilter): Promise<AuditEntry[]> {
  const { since, before, denied, limit } = filter
  let query = database.selectFrom('audit').selectAll()
  if (since !== undefined) query = query.where('at', '>=', since)
  if (before) query = query.where((_) => _(_.refTuple('at', 'id'), '<', _.tuple(before.at, before.id)))
  for (const column of ['key', 'device', 'person', 'service'] as const) {
    const wanted = filter[column]
    if (wanted !== undefined) query = query.where(column, '=', wanted)
  }
  if (denied === true) query = query.where('status', '>=', 400)
  return query.orderBy('at', 'desc').orderBy('id', 'desc').limit(limit).execute()
}

/** How many requests there were since then, how many of them were refused or failed, and what they took. */
export async function readTotals(database: LedgerDatabase, since: number): Promise<Totals> {
  const row = await database
    .selectFrom('audit')
    .select((_) => [
      _.fn.countAll<number>().as('requests'),
      _.fn
        .sum<number | null>(_.case().when('status', '>=', 400).then(_.lit(1)).else(_.lit(0)).end())
        .as('refused'),
      _.fn.sum<number | null>(_('input_tokens', '+', _.ref('output_tokens'))).as('tokens'),
    ])
    .where('at', '>=', since)
    .executeTakeFirstOrThrow()
  return { requests: row.requests, refused: row.refused ?? 0, tokens: row.tokens ?? 0 }
}

export interface Totals {
  readonly requests: number
  readonly refused: number
  readonly tokens: number
}

/** Habits are known from a month. */
const habitMs = 30 * 86_400_000

/** What looks wrong, the newest first. */
export async function readThreats(database: LedgerDatabase, since: number): Promise<Threat[]> {
  const rows = await database
    .selectFrom('audit')
    .select(['at', 'address', 'device', 'key', 'key_id', 'person', 'path', 'status', 'refusal'])
    .where('at', '>=', since - habitMs)
    .orderBy('at')
    .execute()
  return findThreats(rows, await database.selectFrom('key_uses').selectAll().execute(), since)
}

/** @param since the first day, `2026-11-21` */
export async function readUsageRows(
  database: LedgerDatabase,
  since: string,
): Promise<Selectable<UsageTable>[]> {
  return database.selectFrom('usage').selectAll().where('day', '>=', since).orderBy('day').execute()
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
      _.fn.sum<number>(_.case().when('status', '>=', 400).then(_.lit(1)).else(_.lit(0)).end()).as('refused'),
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

export interface KeyUse {
  /** When and from where it was used last; milliseconds since the epoch. */
  readonly lastAt: number
  readonly address: string
  /** In all. */
  readonly requests: number
}

/** By key id. */
export async function readKeyUses(database: LedgerDatabase): Promise<Map<string, KeyUse>> {
  const rows = await database.selectFrom('key_uses').selectAll().orderBy('last_at').execute()
  const found = new Map<string, KeyUse>()
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
  const sums = new Map<string, number>()
  for (const { subject, window, used, held } of rows) {
    const name = `${subject} ${window}`
    sums.set(name, (sums.get(name) ?? 0) + used + held)
  }
  return sums
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
