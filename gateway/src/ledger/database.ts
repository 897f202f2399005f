/** The ledger's own file, beside the registry's: what is written many times a second holds up no decision. */
import { openStore } from '@sotto/provisioning/database.ts'
import { sql, type Generated, type Kysely } from 'kysely'
import type { Migration } from 'kysely/migration'

/** One request, denied ones too; never a prompt in it. */
export interface AuditTable {
  id: Generated<number>
  /** Milliseconds since the epoch, when it came. */
  at: number
  request_id: string
  tenant: string | null
  person: string | null
  device_id: string | null
  device: string | null
  key_id: string | null
  key: string | null
  address: string
  method: string
  path: string
  service: string | null
  model: string | null
  backend: string | null
  status: number
  /** Code of the failure, where it was refused or failed. */
  refusal: string | null
  input_tokens: number
  output_tokens: number
  /** `upstream` where the engine said how many, `counted` where the stream was cut, `none` */
  counted: string
  queued_ms: number
  /** From the request to the answer's first byte; null where none came. */
  first_byte_ms: number | null
  duration_ms: number
  /** How it ended: `whole`, `cut` by the upstream, `left` by the client. */
  ended: string
}

export interface UsageTable {
  /** UTC, `2026-11-21` */
  day: string
  tenant: string
  person: string
  device: string
  key: string
  model: string
  service: string
  requests: number
  input_tokens: number
  output_tokens: number
}

/** What a gateway spent of a budget; the sum of all counts. `held` is what may have been spent besides, should this process end now. */
export interface SpendingTable {
  subject: string
  /** `day:2026-11-21`, `month:2026-11` or `total` */
  window: string
  /** Its id; empty of before it had one. */
  gateway: string
  used: number
  held: number
}

/** From which addresses a key was used. */
export interface KeyUseTable {
  key_id: string
  address: string
  first_at: number
  last_at: number
  requests: number
}

/** Prompts and answers of the keys that have it so, until their time. */
export interface PromptTable {
  id: Generated<number>
  at: number
  request_id: string
  key_id: string
  key: string
  model: string | null
  request: string
  response: string
  expires_at: number
}

export interface LedgerTables {
  audit: AuditTable
  usage: UsageTable
  spending: SpendingTable
  key_uses: KeyUseTable
  prompts: PromptTable
}

export type LedgerDatabase = Kysely<LedgerTables>

export const migrations: Record<string, Migration> = {
  '0001-ledger': { up: createLedger },
  '0002-spending-by-gateway': { up: addGateway },
}

export function openLedgerDatabase(file: string): Promise<LedgerDatabase> {
  return openStore<LedgerTables>(file, migrations)
}

async function createLedger(database: Kysely<unknown>): Promise<void> {
  const { schema } = database
  await schema
    .createTable('audit')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('at', 'integer', (column) => column.notNull())
    .addColumn('request_id', 'text', (column) => column.notNull())
    .addColumn('tenant', 'text')
    .addColumn('person', 'text')
    .addColumn('device_id', 'text')
    .addColumn('device', 'text')
    .addColumn('key_id', 'text')
    .addColumn('key', 'text')
    .addColumn('address', 'text', (column) => column.notNull())
    .addColumn('method', 'text', (column) => column.notNull())
    .addColumn('path', 'text', (column) => column.notNull())
    .addColumn('service', 'text')
    .addColumn('model', 'text')
    .addColumn('backend', 'text')
    .addColumn('status', 'integer', (column) => column.notNull())
    .addColumn('refusal', 'text')
    .addColumn('input_tokens', 'integer', (column) => column.notNull())
    .addColumn('output_tokens', 'integer', (column) => column.notNull())
    .addColumn('counted', 'text', (column) => column.notNull())
    .addColumn('queued_ms', 'integer', (column) => column.notNull())
    .addColumn('first_byte_ms', 'integer')
    .addColumn('duration_ms', 'integer', (column) => column.notNull())
    .addColumn('ended', 'text', (column) => column.notNull())
    .execute()
  await schema.createIndex('audit_at').on('audit').column('at').execute()
  await schema
    .createTable('usage')
    .addColumn('day', 'text', (column) => column.notNull())
    .addColumn('tenant', 'text', (column) => column.notNull())
    .addColumn('person', 'text', (column) => column.notNull())
    .addColumn('device', 'text', (column) => column.notNull())
    .addColumn('key', 'text', (column) => column.notNull())
    .addColumn('model', 'text', (column) => column.notNull())
    .addColumn('service', 'text', (column) => column.notNull())
    .addColumn('requests', 'integer', (column) => column.notNull())
    .addColumn('input_tokens', 'integer', (column) => column.notNull())
    .addColumn('output_tokens', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('usage_key', ['day', 'tenant', 'person', 'device', 'key', 'model', 'service'])
    .execute()
  await schema
    .createTable('spending')
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('window', 'text', (column) => column.notNull())
    .addColumn('used', 'integer', (column) => column.notNull())
    .addColumn('held', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('spending_key', ['subject', 'window'])
    .execute()
  await schema
    .createTable('key_uses')
    .addColumn('key_id', 'text', (column) => column.notNull())
    .addColumn('address', 'text', (column) => column.notNull())
    .addColumn('first_at', 'integer', (column) => column.notNull())
    .addColumn('last_at', 'integer', (column) => column.notNull())
    .addColumn('requests', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('key_uses_key', ['key_id', 'address'])
    .execute()
  await schema
    .createTable('prompts')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('at', 'integer', (column) => column.notNull())
    .addColumn('request_id', 'text', (column) => column.notNull())
    .addColumn('key_id', 'text', (column) => column.notNull())
    .addColumn('key', 'text', (column) => column.notNull())
    .addColumn('model', 'text')
    .addColumn('request', 'text', (column) => column.notNull())
    .addColumn('response', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'integer', (column) => column.notNull())
    .execute()
  await schema.createIndex('prompts_expires_at').on('prompts').column('expires_at').execute()
}

async function addGateway(database: Kysely<unknown>): Promise<void> {
  const { schema } = database
  await schema
    .createTable('spending_by_gateway')
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('window', 'text', (column) => column.notNull())
    .addColumn('gateway', 'text', (column) => column.notNull())
    .addColumn('used', 'integer', (column) => column.notNull())
    .addColumn('held', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('spending_by_gateway_key', ['subject', 'window', 'gateway'])
    .execute()
  await sql`INSERT INTO spending_by_gateway (subject, "window", gateway, used, held)
    SELECT subject, "window", '', used, held FROM spending`.execute(database)
  await schema.dropTable('spending').execute()
  await schema.alterTable('spending_by_gateway').renameTo('spending').execute()
}
