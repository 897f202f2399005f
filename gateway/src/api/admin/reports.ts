/** What happened: usage, audit and what in it looks wrong. */
import { create as attachment } from 'content-disposition'
import { stringify } from 'csv-stringify/sync'
import { z } from 'zod'
import type { AuditEntry, AuditFilter } from '#ledger/report.ts'
import type { Reports } from '#ledger/reports.ts'
import type { AuditList, AuditRow, ThreatList, UsageList } from '#protocol/admin.ts'
import { Failure } from '../../failure.ts'
import { ownDialect } from '../envelope.ts'
import type { Call, Route } from '../route.ts'
import { noStore, reading } from './reading.ts'
import { dayMs, readDays, readSince, today } from './since.ts'

export interface ReportsDeps {
  readonly reports: Reports
}

const limit = z.coerce.number().int().min(1).max(1_000)
/** Of an export, as many rows as are in memory at once. */
const exportedAtOnce = 1_000

export function reportRoutes({ reports }: ReportsDeps): Route[] {
  return [
    reading('/sotto/admin/usage', 'Requests and tokens by day: ?days=30', async ({ c }) => {
      const days = readDays(c.req.query('days'), 30)
      const since = new Date(Date.parse(today()) - (days - 1) * dayMs).toISOString().slice(0, 10)
      const rows = (await reports.usage(since)).map(({ input_tokens, output_tokens, ...row }) => ({
        ...row,
        inputTokens: input_tokens,
        outputTokens: output_tokens,
      }))
      return { since, rows } satisfies UsageList
    }),
    reading('/sotto/admin/threats', 'What in the audit looks wrong: ?days=7', async ({ c }) => {
      const found = await reports.threats(Date.now() - readDays(c.req.query('days'), 7) * dayMs)
      return {
        threats: found.map(({ at, ...threat }) => ({ ...threat, at: new Date(at).toISOString() })),
      } satisfies ThreatList
    }),
    reading(
      '/sotto/admin/audit',
      'Requests, the newest first: ?before=NEXT&limit=100&since=&key=&device=&person=&service=&denied=1',
      async (call) => {
        const wanted = filterOf(call, limitOf(call))
        const entries = await reports.audit({ ...wanted, limit: wanted.limit + 1 })
        const page = entries.slice(0, wanted.limit)
        const last = page.at(-1)
        return {
          rows: page.map(toRow),
          next: last && entries.length > page.length ? `${last.at}-${last.id}` : null,
        } satisfies AuditList
      },
    ),
    {
      group: 'admin',
      dialect: ownDialect,
      method: 'GET',
      path: '/sotto/admin/audit/export',
      summary: 'The same as a CSV file, whole',
      handle(call) {
        const pages = exported(reports, filterOf(call, exportedAtOnce))
        return call.c.body(ReadableStream.from(pages), 200, {
          ...noStore,
          'content-type': 'text/csv; charset=utf-8',
          'content-disposition': attachment(`sotto-audit-${today()}.csv`),
          'x-content-type-options': 'nosniff',
        })
      },
    },
  ]
}

function limitOf({ c }: Call): number {
  const read = limit.safeParse(c.req.query('limit') ?? '100')
  if (!read.success) throw new Failure('invalid', 'limit: send a number from 1 to 1000.')
  return read.data
}

function filterOf({ c }: Call, rows: number): AuditFilter {
  const { since, before, denied, key, device, person, service } = c.req.query()
  return {
    limit: rows,
    ...(since !== undefined && { since: readSince(since) }),
    ...(before !== undefined && { before: readPlace(before) }),
    ...(key !== undefined && { key }),
    ...(device !== undefined && { device }),
    ...(person !== undefined && { person }),
    ...(service !== undefined && { service }),
    ...(denied !== undefined && denied !== '0' && { denied: true }),
  }
}

/** Where a page ended: its last row’s time and number. */
function readPlace(text: string): { readonly at: number; readonly id: number } {
  const [, at, id] = /^(\d{1,15})-(\d{1,15})$/.exec(text) ?? []
  if (at === undefined || id === undefined)
    throw new Failure('invalid', 'before: send what “next” of the page before says.')
  return { at: Number(at), id: Number(id) }
}

function toRow(entry: AuditEntry): AuditRow {
  return {
    id: entry.id,
    at: new Date(entry.at).toISOString(),
    requestId: entry.request_id,
    tenant: entry.tenant,
    person: entry.person,
    device: entry.device,
    key: entry.key,
    address: entry.address,
    method: entry.method,
    path: entry.path,
    service: entry.service,
    model: entry.model,
    backend: entry.backend,
    status: entry.status,
    refusal: entry.refusal,
    inputTokens: entry.input_tokens,
    outputTokens: entry.output_tokens,
    queuedMs: entry.queued_ms,
    firstByteMs: entry.first_byte_ms,
    durationMs: entry.duration_ms,
    ended: entry.ended,
  }
}

const columns = [
  'id',
  'at',
  'requestId',
  'tenant',
  'person',
  'device',
  'key',
  'address',
  'method',
  'path',
  'service',
  'model',
  'backend',
  'status',
  'refusal',
  'inputTokens',
  'outputTokens',
  'queuedMs',
  'firstByteMs',
  'durationMs',
  'ended',
] as const satisfies readonly (keyof AuditRow)[]

/** As RFC 4180 has it. A path that is none can be a formula, so what a spreadsheet would run has a quote before it. */
async function* exported(reports: Reports, filter: AuditFilter): AsyncGenerator<Uint8Array> {
  const csv = (rows: readonly AuditRow[], first: boolean) =>
    Buffer.from(
      stringify([...rows], {
        columns: [...columns],
        header: first,
        // Without it Excel takes UTF-8 for something else.
        bom: first,
        escape_formulas: true,
        record_delimiter: 'windows',
      }),
    )
  let page = await reports.audit(filter)
  yield csv(page.map(toRow), true)
  for (let last = page.at(-1); last && page.length === filter.limit; last = page.at(-1)) {
    page = await reports.audit({ ...filter, before: last })
    if (page.length > 0) yield csv(page.map(toRow), false)
  }
}
