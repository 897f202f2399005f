/** Access rules between devices, and from devices to the gateway, as the admin gave them. */
import type { Generated, Kysely } from 'kysely'
import type { Party, Rule } from '#overlay/access.ts'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { findDevice } from './device.ts'
import { bumpRevision } from './network.ts'

export interface RuleTable {
  id: Generated<number>
  action: 'allow' | 'deny'
  from_kind: string
  from_id: string | null
  to_kind: string
  to_id: string | null
  created_at: string
}

/** A rule as people name its parties: `all`, `gateway`, `host`, `person:Ada`, `device:Ada phone`. */
export interface NamedRule {
  readonly id: number
  readonly action: 'allow' | 'deny'
  readonly from: string
  readonly to: string
}

/** What to pass as `from` and `to`: see `NamedRule`. Throws a `Problem` for a party that does not exist. */
export async function addRule(
  database: Database,
  rule: { readonly action: 'allow' | 'deny'; readonly from: string; readonly to: string },
): Promise<NamedRule> {
  return database.transaction().execute(async (transaction) => {
    const from = await readParty(transaction, rule.from)
    const to = await readParty(transaction, rule.to)
    if (from.kind === 'gateway' || from.kind === 'host')
      throw new Problem(
        'rule_from',
        'What this machine opens to devices needs no rule, so none begins there.',
        'Turn it round: ./sotto network deny device:NAME gateway',
      )
    const { id } = await transaction
      .insertInto('rules')
      .values({
        action: rule.action,
        from_kind: from.kind,
        from_id: 'id' in from ? from.id : null,
        to_kind: to.kind,
        to_id: 'id' in to ? to.id : null,
        created_at: new Date().toISOString(),
      })
      .returning('id')
      .executeTakeFirstOrThrow()
    await bumpRevision(transaction)
    return { id, ...rule }
  })
}

export async function removeRule(database: Database, id: number): Promise<void> {
  const missing = new Problem(
    'rule_missing',
    `There is no rule ${id}.`,
    '`./sotto network rules` shows them.',
  )
  if (!Number.isSafeInteger(id)) throw missing
  await database.transaction().execute(async (transaction) => {
    const gone = await transaction.deleteFrom('rules').where('id', '=', id).returning('id').execute()
    if (gone.length === 0) throw missing
    await bumpRevision(transaction)
  })
}

/** In the order in which they were added. */
export async function listRules(database: Database): Promise<Rule[]> {
  const rows = await database.selectFrom('rules').selectAll().orderBy('id').execute()
  return rows.map((row) => ({
    action: row.action,
    from: toParty(row.from_kind, row.from_id),
    to: toParty(row.to_kind, row.to_id),
  }))
}

/** As people read them; a device that was removed since is named as such. */
export async function nameRules(database: Database): Promise<NamedRule[]> {
  const rows = await database.selectFrom('rules').selectAll().orderBy('id').execute()
  const devices = await database.selectFrom('devices').select(['id', 'name', 'removed_at']).execute()
  const people = await database.selectFrom('people').select(['id', 'name']).execute()
  const names = new Map([
    ...people.map(({ id, name }) => [id, name] as const),
    ...devices.map(({ id, name, removed_at }) => [id, removed_at ? `${name} (removed)` : name] as const),
  ])
  const nameOf = (kind: string, id: string | null) => (id === null ? kind : `${kind}:${names.get(id) ?? id}`)
  return rows.map((row) => ({
    id: row.id,
    action: row.action,
    from: nameOf(row.from_kind, row.from_id),
    to: nameOf(row.to_kind, row.to_id),
  }))
}

async function readParty(database: Database, text: string): Promise<Party> {
  if (text === 'all' || text === 'gateway' || text === 'host') return { kind: text }
  const [, kind, name = ''] = /^(person|device):(.+)$/u.exec(text) ?? []
  if (kind === 'device') return { kind, id: (await findDevice(database, name)).id }
  if (kind === 'person') {
    const person = await database
      .selectFrom('people')
      .select('id')
      .where('name', '=', name)
      .executeTakeFirst()
    if (person) return { kind, id: person.id }
    throw new Problem(
      'person_missing',
      `There is no person named “${name}”.`,
      '`./sotto person list` shows whom there is.',
    )
  }
  throw new Problem(
    'rule_party',
    `“${text}” is nobody that a rule can name.`,
    'Name all, gateway, host, person:NAME or device:NAME.',
  )
}

function toParty(kind: string, id: string | null): Party {
  if (id !== null && (kind === 'person' || kind === 'device')) return { kind, id }
  return kind === 'gateway' || kind === 'host' ? { kind } : { kind: 'all' }
}

/** @internal a migration; see `database.ts` */
export async function createRules(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('rules')
    .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
    .addColumn('action', 'text', (column) => column.notNull())
    .addColumn('from_kind', 'text', (column) => column.notNull())
    .addColumn('from_id', 'text')
    .addColumn('to_kind', 'text', (column) => column.notNull())
    .addColumn('to_id', 'text')
    .addColumn('created_at', 'text', (column) => column.notNull())
    .execute()
}
