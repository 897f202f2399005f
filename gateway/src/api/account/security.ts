/** By what one signs in, where one is signed in, and the end of it all. */
import { checkMail, findAccount, setPassword } from '@sotto/provisioning/registry/account.ts'
import { readAllowances, services as ownServices } from '@sotto/provisioning/registry/allowance.ts'
import { listDevices } from '@sotto/provisioning/registry/device.ts'
import { queueMail } from '@sotto/provisioning/registry/mail.ts'
import { addPasskey, listPasskeys, removePasskey } from '@sotto/provisioning/registry/passkey.ts'
import { leave } from '@sotto/provisioning/registry/person.ts'
import { endSession, endSessions, listSessions } from '@sotto/provisioning/registry/session.ts'
import { z } from 'zod'
import { endDepartures } from '#accounts/departures.ts'
import { registered } from '#accounts/passkeys.ts'
import { heldBy, type Member } from '#identity/caller.ts'
import { tenantOf } from '#identity/directory.ts'
import type { Account } from '#protocol/account.ts'
import { Failure } from '../../failure.ts'
import { nothing } from '../admin/change.ts'
import type { Route } from '../route.ts'
import { takeSession } from './cookies.ts'
import type { AccountDeps } from './deps.ts'
import { language, noMail } from './links.ts'
import { ownChanging, ownReading, provenUntil, type OwnCall } from './own.ts'
import { hostOf, passwordText, requireParty } from './signing-in.ts'

/** By its own name alone a key may lend. */
const lendService = 'lend'

export function securityRoutes(deps: AccountDeps): Route[] {
  const { accounts, database, guards } = deps
  const purposeOf = ({ session }: OwnCall): string => `session ${session.id}`
  return [
    ownReading(deps, '/me', 'One’s account', (call) => accountOf(deps, call)),
    ownChanging(deps, {
      method: 'PUT',
      path: '/password',
      summary: 'Set another password; other sessions end',
      body: z.strictObject({ password: passwordText }),
      proof: true,
      async apply({ password }, { session }) {
        await setPassword(database, session.personId, password, session.id)
        return undefined
      },
    }),
    ownChanging(deps, {
      method: 'PUT',
      path: '/mail',
      summary: 'Move the account to another address, by a link that goes there',
      body: z.strictObject({ mail: z.string().max(254), language }),
      proof: true,
      status: 202,
      async apply(sent, call) {
        if (!accounts.mail) throw noMail()
        const { personId } = call.session
        const origin = `https://${hostOf(call)}`
        const recipient = checkMail(sent.mail)
        await queueMail(database, { kind: 'mail', recipient, personId, origin, language: sent.language })
        return undefined
      },
    }),
    ownChanging(deps, {
      method: 'POST',
      path: '/passkeys/options',
      summary: 'What another passkey is made by',
      body: nothing,
      proof: true,
      async apply(_, call) {
        const { personId: id, person } = call.session
        const has = await listPasskeys(database, id)
        return guards.passkeys.askForNew(requireParty(call), purposeOf(call), { id, name: person, has })
      },
    }),
    ownChanging(deps, {
      method: 'POST',
      path: '/passkeys',
      summary: 'Add a passkey',
      body: registered,
      proof: true,
      async apply(sent, call) {
        const made = await guards.passkeys.takeNew(requireParty(call), purposeOf(call), sent)
        await addPasskey(database, call.session.personId, made)
        return undefined
      },
    }),
    ownChanging(deps, {
      method: 'DELETE',
      path: '/passkeys/:id',
      summary: 'Remove a passkey; the last way to sign in stays',
      body: nothing,
      proof: true,
      async apply(_, { c, session }) {
        await removePasskey(database, session.personId, c.req.param('id') ?? '')
        return undefined
      },
    }),
    ownChanging(deps, {
      method: 'DELETE',
      path: '/sessions/:id',
      summary: 'Sign out another browser',
      body: nothing,
      async apply(_, { c, session }) {
        if (!(await endSession(database, session.personId, c.req.param('id') ?? '')))
          throw new Failure('not_found', 'There is no such session, or not any more.')
        return undefined
      },
    }),
    ownChanging(deps, {
      method: 'DELETE',
      path: '/sessions',
      summary: 'Sign out all other browsers',
      body: nothing,
      async apply(_, { session }) {
        await endSessions(database, session.personId, session.id)
        return undefined
      },
    }),
    ownChanging(deps, {
      method: 'DELETE',
      path: '/me',
      summary: 'Delete the account, and with it keys and lenders',
      body: nothing,
      proof: true,
      async apply(_, call) {
        await end(deps, call)
        return undefined
      },
    }),
  ]
}

/** Keys and sessions first, so that nothing new is written of who goes. */
async function end(deps: AccountDeps, call: OwnCall): Promise<void> {
  const { personId } = call.session
  await leave(deps.database, personId)
  takeSession(call)
  // The row of this very request has no name, either.
  call.record.caller = undefined
  await deps.follow()
  await endDepartures(deps, personId)
}

async function accountOf(deps: AccountDeps, call: OwnCall): Promise<Account> {
  const { admission, database, engines, lendTo, spent } = deps
  const { session } = call
  const { personId, person, tenant } = session
  const account = await findAccount(database, personId)
  const held = await heldOf(deps, call)
  const passkeys = await listPasskeys(database, personId)
  const sessions = await listSessions(database, personId)
  const until = provenUntil(session)
  const models = engines.pool.backends.flatMap((backend) => backend.models)
  return {
    person,
    tenant: tenant.name,
    mail: account?.mail ?? null,
    hasPassword: account?.hasPassword === true,
    createdAt: account?.createdAt ?? session.createdAt,
    provenUntil: until?.toISOString() ?? null,
    passkeys: passkeys.map((one) => ({
      id: one.id,
      name: one.name,
      host: one.rpId,
      createdAt: one.createdAt,
      usedAt: one.usedAt,
    })),
    sessions: sessions.map((one) => ({
      id: one.id,
      current: one.id === session.id,
      address: one.address,
      agent: one.agent,
      createdAt: one.createdAt,
      usedAt: one.usedAt,
    })),
    limits: await Promise.all(
      held.map(async (one) => {
        const { subject, label: _, ...limits } = one
        return { party: `tenant:${tenant.name}`, limits, spent: await spent(subject) }
      }),
    ),
    services: await offeredServices(deps, call),
    models: [...new Set(models)].filter((model) => admission.mayUse({ ...asMember(call), held }, model)),
    programs: deps.programs,
    lendTo: lendTo ?? `https://${hostOf(call)}`,
    devices: (await listDevices(database)).filter((device) => device.personId === personId).length,
  }
}

/** What a key of theirs may be for: no more than the tenant. */
export async function offeredServices(
  deps: Pick<AccountDeps, 'database' | 'services'>,
  call: OwnCall,
): Promise<string[]> {
  const [tenant] = await heldOf(deps, call)
  const all = [...ownServices, lendService, ...deps.services.map(({ name }) => name)]
  return all.filter((service) => tenant?.services?.includes(service) ?? true)
}

async function heldOf({ database }: Pick<AccountDeps, 'database'>, { session }: OwnCall) {
  return heldBy(await readAllowances(database), tenantOf(session.tenant))
}

function asMember({ caller, session }: OwnCall): Member {
  return { ...caller, tenant: session.tenant }
}
