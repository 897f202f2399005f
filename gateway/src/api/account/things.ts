/** What is theirs: keys, lenders, what was used, and all of it as a file. */
import { create as attachment } from 'content-disposition'
import { findAccount } from '@sotto/provisioning/registry/account.ts'
import { addKey, defaultOverlapMs, findKey, removeKey, rotateKey } from '@sotto/provisioning/registry/key.ts'
import { listPasskeys } from '@sotto/provisioning/registry/passkey.ts'
import { listSessions } from '@sotto/provisioning/registry/session.ts'
import { z } from 'zod'
import type { MadeOwnKey, OwnKeys, OwnLenders, OwnUsage } from '#protocol/account.ts'
import { Failure } from '../../failure.ts'
import { conflict, nothing } from '../admin/change.ts'
import { keyStatus, listKeyStatuses } from '../admin/keys.ts'
import { listLenderStatuses } from '../admin/lenders.ts'
import { made, name, named, time } from '../admin/named.ts'
import { noStore } from '../admin/reading.ts'
import { dayMs, readDays, today } from '../admin/since.ts'
import { ownDialect } from '../envelope.ts'
import type { Route } from '../route.ts'
import type { AccountDeps } from './deps.ts'
import { accountPath, ownChanging, ownReading, signedIn, type OwnCall } from './own.ts'
import { offeredServices } from './security.ts'

const keys = '/keys'
/** One for each program, and then some. */
const maxKeys = 20
const yearMs = 365 * dayMs
const names = z.array(z.string().min(1).max(200)).min(1).max(100)
const wish = z.strictObject({
  name,
  services: names,
  models: names.optional(),
  expiresAt: time.optional(),
})
const rotation = z.strictObject({ overlapMs: z.int().min(0).max(yearMs).optional() }).optional()
/** Of an export, as many rows or conversations as are in memory at once. */
const rowsAtOnce = 1_000
const conversationsAtOnce = 50

export function thingRoutes(deps: AccountDeps): Route[] {
  const { database } = deps
  return [
    ownReading(deps, keys, 'One’s keys', async ({ session }) => {
      return { keys: await listKeyStatuses(deps, session.personId) } satisfies OwnKeys
    }),
    ownChanging(deps, {
      method: 'POST',
      path: keys,
      summary: 'Make a key, for no more than the tenant may use; its secret is shown once',
      body: wish,
      status: 201,
      async apply({ name: wanted, services, models, expiresAt }, call) {
        const { personId, person } = call.session
        const offered = await offeredServices(deps, call)
        const tooMuch = services.filter((service) => !offered.includes(service))
        if (tooMuch.length > 0)
          throw new Failure('forbidden', `Your tenant may not use ${tooMuch.join(', ')}.`, undefined, {
            detail: 'key_scope',
            remedy: `A key of yours may be for ${offered.join(', ')}.`,
          })
        if ((await listKeyStatuses(deps, personId)).length >= maxKeys)
          throw conflict('keys_exhausted', `You have ${maxKeys} keys.`, 'Remove one first.')
        const { key, secret } = await addKey(database, {
          name: wanted,
          person: { id: personId, name: person },
          ...(expiresAt && { expiresAt }),
          allowance: { services, models: models ?? null },
        })
        made(call, `${accountPath}${keys}`, key.name)
        return { key: await keyStatus(deps, key.name), secret } satisfies MadeOwnKey
      },
    }),
    ownChanging(deps, {
      method: 'POST',
      path: `${keys}/:name/rotation`,
      summary: 'Give a key another secret; the old one goes on for a while',
      body: rotation,
      async apply(sent, call) {
        const { key, secret } = await rotateKey(
          database,
          await ownKey(deps, call),
          sent?.overlapMs ?? defaultOverlapMs,
        )
        return { key: await keyStatus(deps, key.name), secret } satisfies MadeOwnKey
      },
    }),
    ownChanging(deps, {
      method: 'DELETE',
      path: `${keys}/:name`,
      summary: 'End a key for good',
      body: nothing,
      async apply(_, call) {
        await removeKey(database, await ownKey(deps, call))
        return undefined
      },
    }),
    ownReading(deps, '/lenders', 'One’s machines that lend what they have', async ({ session }) => {
      const all = await listLenderStatuses(deps)
      return { lenders: all.filter(({ person }) => person === session.person) } satisfies OwnLenders
    }),
    ownReading(deps, '/usage', 'What one used by day: ?days=30', async ({ c, session }) => {
      const days = readDays(c.req.query('days'), 30)
      const since = new Date(Date.parse(today()) - (days - 1) * dayMs).toISOString().slice(0, 10)
      return { since, rows: await usageOf(deps, session.person, since) } satisfies OwnUsage
    }),
    {
      group: 'member',
      dialect: ownDialect,
      method: 'GET',
      path: `${accountPath}/ca.crt`,
      summary: 'The authority by which one’s lenders trust this gateway',
      quiet: true,
      async handle(call) {
        await signedIn(deps, call)
        return call.c.body(await deps.ca(), 200, {
          ...noStore,
          'content-type': 'application/x-pem-file',
          'content-disposition': attachment('sotto-ca.crt'),
        })
      },
    },
    {
      group: 'member',
      dialect: ownDialect,
      method: 'GET',
      path: `${accountPath}/export`,
      summary: 'All that is kept of one, as a JSON file',
      async handle(call) {
        const pieces = exported(deps, await signedIn(deps, call))
        return call.c.body(ReadableStream.from(pieces), 200, {
          ...noStore,
          'content-type': 'application/json',
          'content-disposition': attachment(`sotto-account-${today()}.json`),
          'x-content-type-options': 'nosniff',
        })
      },
    },
  ]
}

/** The name of a key that the path names. Somebody else’s is as if there were none. Throws a `Problem`. */
async function ownKey({ database }: AccountDeps, call: OwnCall): Promise<string> {
  const found = await findKey(database, named(call))
  if (found.personId === call.session.personId) return found.name
  throw new Failure('not_found', `There is no key named “${named(call)}”.`, undefined, {
    detail: 'key_missing',
  })
}

async function usageOf({ reports }: AccountDeps, person: string, since: string) {
  const rows = await reports.usage(since)
  return rows
    .filter((row) => row.person === person)
    .map(({ input_tokens, output_tokens, ...row }) => ({
      ...row,
      inputTokens: input_tokens,
      outputTokens: output_tokens,
    }))
}

/** One JSON object, a part at a time: conversations and requests can be many. */
async function* exported(deps: AccountDeps, { session }: OwnCall): AsyncGenerator<Uint8Array> {
  const { conversations, database, reports } = deps
  const { personId, person, tenant } = session
  const piece = (text: string) => Buffer.from(text)
  const list = async function* <T>(pages: AsyncIterable<readonly T[]>) {
    let first = true
    for await (const page of pages)
      for (const one of page) {
        yield piece(`${first ? '' : ',\n'}${JSON.stringify(one)}`)
        first = false
      }
  }
  const head = {
    exportedAt: new Date().toISOString(),
    person,
    tenant: tenant.name,
    account: await findAccount(database, personId),
    passkeys: (await listPasskeys(database, personId)).map((one) => ({
      name: one.name,
      host: one.rpId,
      createdAt: one.createdAt,
      usedAt: one.usedAt,
    })),
    sessions: await listSessions(database, personId),
    keys: await listKeyStatuses(deps, personId),
    lenders: (await listLenderStatuses(deps)).filter((one) => one.person === person),
    usage: await usageOf(deps, person, '2000-01-01'),
  }
  yield piece(`${JSON.stringify(head, null, 2).slice(0, -2)},\n"requests": [\n`)
  yield* list(requestsOf(reports, person))
  yield piece('\n],\n"conversations": [\n')
  yield* list(conversationsOf(conversations, personId))
  yield piece('\n]\n}\n')
}

async function* requestsOf(reports: AccountDeps['reports'], person: string) {
  let page = await reports.audit({ person, limit: rowsAtOnce })
  while (page.length > 0) {
    yield page
    const last = page.at(-1)
    if (!last || page.length < rowsAtOnce) return
    page = await reports.audit({ person, limit: rowsAtOnce, before: last })
  }
}

async function* conversationsOf(conversations: AccountDeps['conversations'], owner: string) {
  let before: string | null | undefined
  do {
    const page = await conversations.list(owner, {
      limit: conversationsAtOnce,
      ...(before != null && { before }),
    })
    for (const { id } of page.conversations) yield [await conversations.read(owner, id)]
    before = page.next
  } while (before != null)
}
