/**
 * Mail that waits to be sent, and what became of it. A mail's link is made when the mail goes out, so that none
 * lies here: a row says to whom it goes and why.
 */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { latest } from './ahead.ts'
import { bumpRevision } from './network.ts'

/** `known` tells one who signs up with an address that has an account already. */
export const mailKinds = ['invitation', 'sign-up', 'known', 'reset', 'mail'] as const
export type MailKind = (typeof mailKinds)[number]
export const mailLanguages = ['en', 'de'] as const
export type MailLanguage = (typeof mailLanguages)[number]

export interface MailTable {
  id: string
  kind: MailKind
  recipient: string
  person_id: string | null
  /** The gateway’s address, under which its reader reaches it: `https://…` */
  origin: string
  language: MailLanguage
  created_at: string
  /** When it is tried next; null where it is not, any more. */
  next_at: string | null
  tries: number
  sent_at: string | null
  /** What went wrong last. */
  error: string | null
}

export interface Mail {
  readonly id: string
  readonly kind: MailKind
  readonly recipient: string
  readonly personId: string | null
  readonly person: string | null
  readonly origin: string
  readonly language: MailLanguage
  readonly createdAt: string
  readonly nextAt: string | null
  readonly tries: number
  readonly sentAt: string | null
  readonly error: string | null
}

const dayMs = 86_400_000
/** What became of it is told so long. */
const keptMs = 30 * dayMs
/** Nobody’s letter box is filled by a stranger: of one kind, in an hour. */
const maxPerHour = 3
/** Of those that strangers ask for. */
const maxWaiting = 500

export interface NewMail {
  readonly kind: MailKind
  readonly recipient: string
  readonly personId?: string | undefined
  readonly origin: string
  readonly language: MailLanguage
}

/** Puts it in the queue, or does nothing where too many went there of late. A running gateway sends it soon. */
export async function queueMail(
  database: Database,
  { kind, recipient, personId, origin, language }: NewMail,
  now: Date = new Date(),
): Promise<boolean> {
  return database.transaction().execute(async (transaction) => {
    await transaction
      .deleteFrom('mails')
      .where('created_at', '<', new Date(now.getTime() - keptMs).toISOString())
      .execute()
    const count = (column: 'recipient' | 'waiting') => {
      const query = transaction
        .selectFrom('mails')
        .select((_) => _.fn.countAll<number>().as('count'))
        .$if(column === 'waiting', (_) => _.where('next_at', 'is not', null))
        .$if(column === 'recipient', (_) =>
          _.where('recipient', '=', recipient)
            .where('kind', '=', kind)
            .where('created_at', '>', new Date(now.getTime() - dayMs / 24).toISOString()),
        )
      return query.executeTakeFirstOrThrow()
    }
    if ((await count('recipient')).count >= maxPerHour) return false
    if ((await count('waiting')).count >= maxWaiting) return false
    await transaction
      .insertInto('mails')
      .values({
        id: randomUUID(),
        kind,
        recipient,
        person_id: personId ?? null,
        origin,
        language,
        created_at: now.toISOString(),
        next_at: now.toISOString(),
        tries: 0,
        sent_at: null,
        error: null,
      })
      .execute()
    await bumpRevision(transaction)
    return true
  })
}

/** Between two tries. */
export const longestWaitMs = 3_600_000

/** Those that are to be sent now, the oldest first. */
export async function dueMails(database: Database, now: Date = new Date()): Promise<Mail[]> {
  const rows = await selectMails(database)
    .where((row) =>
      row.or([
        row('next_at', '<=', now.toISOString()),
        // Put off before the clock was set back.
        row('next_at', '>', latest(new Date(now.getTime() + longestWaitMs))),
      ]),
    )
    .orderBy('mails.created_at')
    .limit(20)
    .execute()
  return rows.map(toMail)
}

/** When the next one is due; undefined where none waits. */
export async function nextMailAt(database: Database): Promise<Date | undefined> {
  const row = await database
    .selectFrom('mails')
    .select((_) => _.fn.min('next_at').as('at'))
    .executeTakeFirst()
  return row?.at == null ? undefined : new Date(row.at)
}

/** @param next when it is tried again; null for never */
export async function noteMail(
  database: Database,
  id: string,
  outcome: { readonly sentAt: Date } | { readonly error: string; readonly next: Date | null },
): Promise<void> {
  await database
    .updateTable('mails')
    .set((_) => ({
      tries: _('tries', '+', 1),
      ...('sentAt' in outcome
        ? { sent_at: outcome.sentAt.toISOString(), next_at: null, error: null }
        : { error: outcome.error.slice(0, 300), next_at: outcome.next?.toISOString() ?? null }),
    }))
    .where('id', '=', id)
    .execute()
}

/** The newest first. */
export async function listMails(database: Database, limit = 100): Promise<Mail[]> {
  const rows = await selectMails(database).orderBy('mails.created_at', 'desc').limit(limit).execute()
  return rows.map(toMail)
}

function selectMails(database: Database) {
  return database
    .selectFrom('mails')
    .leftJoin('people', 'people.id', 'mails.person_id')
    .selectAll('mails')
    .select('people.name as person')
}

function toMail(row: MailTable & { person: string | null }): Mail {
  return {
    id: row.id,
    kind: row.kind,
    recipient: row.recipient,
    personId: row.person_id,
    person: row.person,
    origin: row.origin,
    language: row.language,
    createdAt: row.created_at,
    nextAt: row.next_at,
    tries: row.tries,
    sentAt: row.sent_at,
    error: row.error,
  }
}

/** @internal a migration; see `database.ts` */
export async function createMails(database: Kysely<unknown>): Promise<void> {
  await database.schema
    .createTable('mails')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('recipient', 'text', (column) => column.notNull())
    .addColumn('person_id', 'text', (column) => column.references('people.id'))
    .addColumn('origin', 'text', (column) => column.notNull())
    .addColumn('language', 'text', (column) => column.notNull())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('next_at', 'text')
    .addColumn('tries', 'integer', (column) => column.notNull())
    .addColumn('sent_at', 'text')
    .addColumn('error', 'text')
    .execute()
}
