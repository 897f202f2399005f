/**
 * What a tenant, key or device may use, and how much of it. Each part that is null holds nothing back; a
 * request is held to every allowance in its way: its key's or its device's, and its tenant's.
 */
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'

/** What a request can be for. A service of the config counts by its own name. */
export const services = [
  'chat',
  'embeddings',
  'transcription',
  'speech',
  'images',
  'realtime',
  'rooms',
] as const

export interface AllowanceTable {
  /** `tenant:ID`, `key:ID` or `device:ID` */
  subject: string
  /** JSON lists; null for all. */
  services: string | null
  models: string | null
  requests_per_minute: number | null
  tokens_per_minute: number | null
  concurrent: number | null
  tokens_per_day: number | null
  tokens_per_month: number | null
  tokens_in_total: number | null
}

export interface Allowance {
  /** Names of services; null for all. */
  readonly services: readonly string[] | null
  /** Names of models, where `*` stands for any text; null for all. */
  readonly models: readonly string[] | null
  readonly requestsPerMinute: number | null
  readonly tokensPerMinute: number | null
  /** Requests that are open at once. */
  readonly concurrent: number | null
  /** Budgets, input and output together. Days and months are UTC's. */
  readonly tokensPerDay: number | null
  readonly tokensPerMonth: number | null
  readonly tokensInTotal: number | null
}

/** Without any of it: nothing is held back. */
export const unlimited: Allowance = {
  services: null,
  models: null,
  requestsPerMinute: null,
  tokensPerMinute: null,
  concurrent: null,
  tokensPerDay: null,
  tokensPerMonth: null,
  tokensInTotal: null,
}

/** By subject: `tenant:ID`, `key:ID`, `device:ID`. */
export async function readAllowances(database: Database): Promise<Map<string, Allowance>> {
  const rows = await database.selectFrom('allowances').selectAll().execute()
  return new Map(rows.map((row) => [row.subject, toAllowance(row)]))
}

/** Changes parts of an allowance; null takes a part away. Part of a larger transaction. */
export async function writeAllowance(
  database: Database,
  subject: string,
  changes: Partial<Allowance>,
): Promise<Allowance> {
  const before = await database
    .selectFrom('allowances')
    .selectAll()
    .where('subject', '=', subject)
    .executeTakeFirst()
  const allowance = { ...(before ? toAllowance(before) : unlimited), ...changes }
  const row = toRow(subject, allowance)
  await database
    .insertInto('allowances')
    .values(row)
    .onConflict((conflict) => conflict.column('subject').doUpdateSet(row))
    .execute()
  return allowance
}

function toAllowance(row: AllowanceTable): Allowance {
  const list = (text: string | null): string[] | null => (text === null ? null : JSON.parse(text))
  return {
    services: list(row.services),
    models: list(row.models),
    requestsPerMinute: row.requests_per_minute,
    tokensPerMinute: row.tokens_per_minute,
    concurrent: row.concurrent,
    tokensPerDay: row.tokens_per_day,
    tokensPerMonth: row.tokens_per_month,
    tokensInTotal: row.tokens_in_total,
  }
}

function toRow(subject: string, allowance: Allowance): AllowanceTable {
  const { services: open, models, ...amounts } = allowance
  for (const [name, value] of Object.entries(amounts)) {
    if (value !== null && !(Number.isSafeInteger(value) && value >= 0))
      throw new Problem('allowance', `${name}: “${value}” is no whole number from 0 up.`)
  }
  const list = (names: readonly string[] | null) => (names === null ? null : JSON.stringify(names))
  return {
    subject,
    services: list(open),
    models: list(models),
    requests_per_minute: allowance.requestsPerMinute,
    tokens_per_minute: allowance.tokensPerMinute,
    concurrent: allowance.concurrent,
    tokens_per_day: allowance.tokensPerDay,
    tokens_per_month: allowance.tokensPerMonth,
    tokens_in_total: allowance.tokensInTotal,
  }
}

/** @internal a migration; see `database.ts` */
export async function createAllowances(database: Kysely<unknown>): Promise<void> {
  let table = database.schema
    .createTable('allowances')
    .addColumn('subject', 'text', (column) => column.primaryKey())
    .addColumn('services', 'text')
    .addColumn('models', 'text')
  for (const column of [
    'requests_per_minute',
    'tokens_per_minute',
    'concurrent',
    'tokens_per_day',
    'tokens_per_month',
    'tokens_in_total',
  ])
    table = table.addColumn(column, 'integer')
  await table.execute()
}
