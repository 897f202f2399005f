/** Batches of the ledger to PostgreSQL, each once: where an answer to a commit was lost, it is asked for later. */
import { Problem } from '@sotto/provisioning/problem.ts'
import { sql, type Transaction } from 'kysely'
import type { BatchWriter, Forgotten } from './batch.ts'
import { auditColumns, promptColumns, type Row } from './columns.ts'
import { openLedgerDatabase, type LedgerTables } from './database.ts'
import { sumsOf } from './sums.ts'

/** A statement takes 65,535 values. */
const rowsAtOnce = 1_000

/** The last transaction of which nobody knows how it ended. */
interface Doubt {
  readonly transaction: string
  readonly audit: ReadonlySet<string>
  readonly prompts: ReadonlySet<string>
}

type Rows = Transaction<LedgerTables>

export async function writePostgres(file: string): Promise<BatchWriter> {
  const database = await openLedgerDatabase(file)
  let doubt: Doubt | undefined

  /** What of it is not there yet. */
  const resolve = async (audit: readonly Row[], prompts: readonly Row[]) => {
    if (!doubt) return { audit, prompts }
    const known = doubt
    const { rows } = await sql<{ status: string }>`
      SELECT pg_xact_status(${known.transaction}::xid8) AS status`.execute(database)
    doubt = undefined
    if (rows[0]?.status !== 'committed') return { audit, prompts }
    const fresh = (among: readonly Row[], there: ReadonlySet<string>) =>
      among.filter((row) => !there.has(JSON.stringify(row)))
    return { audit: fresh(audit, known.audit), prompts: fresh(prompts, known.prompts) }
  }

  return {
    async write(batch) {
      const { audit, prompts } = await resolve(JSON.parse(batch.audit), JSON.parse(batch.prompts))
      let open: string | undefined
      try {
        await database.transaction().execute(async (rows) => {
          const { rows: begun } = await sql<{ id: string }>`SELECT pg_current_xact_id()::text AS id`.execute(
            rows,
          )
          await insert(rows, 'audit', auditColumns, audit)
          await addSums(rows, audit)
          await setSpending(rows, JSON.parse(batch.spending))
          await insert(rows, 'prompts', promptColumns, prompts)
          for (const gone of JSON.parse(batch.forget)) await forget(rows, gone)
          await rows.deleteFrom('prompts').where('expires_at', '<=', batch.now).execute()
          if (batch.keepAuditFrom > 0)
            await rows.deleteFrom('audit').where('at', '<', batch.keepAuditFrom).execute()
          open = begun[0]?.id
        })
      } catch (error) {
        if (open !== undefined && error instanceof Problem)
          doubt = {
            transaction: open,
            audit: new Set(audit.map((row) => JSON.stringify(row))),
            prompts: new Set(prompts.map((row) => JSON.stringify(row))),
          }
        throw error
      }
    },
    close: () => database.destroy(),
  }
}

async function insert(
  rows: Rows,
  table: 'audit' | 'prompts',
  columns: readonly string[],
  values: readonly Row[],
): Promise<void> {
  for (let from = 0; from < values.length; from += rowsAtOnce) {
    const lines = values.slice(from, from + rowsAtOnce).map((row) => sql`(${sql.join(row)})`)
    await sql`INSERT INTO ${sql.table(table)} (${sql.join(columns.map((name) => sql.ref(name)))})
      VALUES ${sql.join(lines)}`.execute(rows)
  }
}

async function addSums(rows: Rows, audit: readonly Row[]): Promise<void> {
  const { usage, uses } = sumsOf(audit)
  for (const { names, requests, input, output } of usage)
    await sql`INSERT INTO usage (day, tenant, person, device, key, model, service, requests, input_tokens, output_tokens)
      VALUES (${sql.join(names)}, ${requests}, ${input}, ${output}) ${addToUsage}`.execute(rows)
  for (const { key, address, first, last, requests } of uses)
    await sql`INSERT INTO key_uses (key_id, address, first_at, last_at, requests)
      VALUES (${key}, ${address}, ${first}, ${last}, ${requests})
      ON CONFLICT (key_id, address) DO UPDATE SET last_at = excluded.last_at,
        requests = key_uses.requests + excluded.requests`.execute(rows)
}

const addToUsage = sql`ON CONFLICT (day, tenant, person, device, key, model, service) DO UPDATE SET
  requests = usage.requests + excluded.requests, input_tokens = usage.input_tokens + excluded.input_tokens,
  output_tokens = usage.output_tokens + excluded.output_tokens`

async function setSpending(rows: Rows, spending: readonly Row[]): Promise<void> {
  for (const row of spending)
    await sql`INSERT INTO spending (subject, "window", gateway, used, held) VALUES (${sql.join(row)})
      ON CONFLICT (subject, "window", gateway) DO UPDATE SET used = excluded.used, held = excluded.held`.execute(
      rows,
    )
}

async function forget(rows: Rows, { person, keys }: Forgotten): Promise<void> {
  const inPath = encodeURIComponent(person)
  for (const statement of [
    sql`UPDATE audit SET person = NULL, key = NULL WHERE person = ${person}`,
    // A lender has the name of its person.
    sql`UPDATE audit SET backend = NULL WHERE starts_with(backend, ${`${person}/`})`,
    sql`UPDATE audit SET path = replace(replace(path, ${`/users/${inPath}/`}, '/users/-/'),
      ${`/people/${inPath}`}, '/people/-') WHERE strpos(path, ${`/${inPath}`}) > 0`,
    sql`INSERT INTO usage (day, tenant, device, model, service, person, key, requests, input_tokens, output_tokens)
      SELECT day, tenant, device, model, service, '', '', sum(requests), sum(input_tokens), sum(output_tokens)
      FROM usage WHERE person = ${person} GROUP BY day, tenant, device, model, service ${addToUsage}`,
    sql`DELETE FROM usage WHERE person = ${person}`,
    ...keys.flatMap((key) => [
      sql`DELETE FROM prompts WHERE key_id = ${key}`,
      sql`DELETE FROM key_uses WHERE key_id = ${key}`,
      // Whatever its person was called by then.
      sql`UPDATE audit SET person = NULL, key = NULL WHERE key_id = ${key}`,
    ]),
  ])
    await statement.execute(rows)
}
