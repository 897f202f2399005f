/** Tenants and their people. */
import type { Database } from '@sotto/provisioning/database.ts'
import { addPerson, changePerson, firstPerson, removePerson } from '@sotto/provisioning/registry/person.ts'
import {
  addTenant,
  findTenant,
  homeTenant,
  removeTenant,
  setTenantDisabled,
} from '@sotto/provisioning/registry/tenant.ts'
import { viewPeople } from '@sotto/provisioning/registry/view.ts'
import { z } from 'zod'
import type { PeopleList } from '#protocol/admin.ts'
import type { Route } from '../route.ts'
import { changing, conflict, nothing, type ChangeDeps } from './change.ts'
import { made, name, named } from './named.ts'
import { reading } from './reading.ts'

const tenants = '/sotto/admin/tenants'
const people = '/sotto/admin/people'

export function peopleRoutes(deps: ChangeDeps): Route[] {
  const { database } = deps
  return [
    reading(people, 'The tenants and their people', () => list(database)),
    changing(deps, {
      method: 'POST',
      path: tenants,
      summary: 'Make a tenant',
      body: z.strictObject({ name }),
      status: 201,
      async apply(sent, call) {
        const tenant = await addTenant(database, sent.name)
        made(call, tenants, tenant.name)
        return list(database)
      },
    }),
    changing(deps, {
      method: 'PATCH',
      path: `${tenants}/:name`,
      summary: 'Serve a tenant nothing, or serve it again',
      body: z.strictObject({ disabled: z.boolean() }),
      async apply({ disabled }, call) {
        const { id } = await findTenant(database, named(call))
        if (disabled && id === call.caller.tenant.id)
          throw conflict(
            'own_tenant',
            'This is the tenant that you are in: you would be shut out, too.',
            'Move yourself into another tenant first.',
          )
        await setTenantDisabled(database, named(call), disabled)
        return list(database)
      },
    }),
    changing(deps, {
      method: 'DELETE',
      path: `${tenants}/:name`,
      summary: 'Remove a tenant that nobody belongs to',
      body: nothing,
      async apply(_, call) {
        await removeTenant(database, named(call))
        return list(database)
      },
    }),
    changing(deps, {
      method: 'POST',
      path: people,
      summary: 'Add a person',
      body: z.strictObject({ name, tenant: name.optional() }),
      status: 201,
      async apply(sent, call) {
        const person = await addPerson(database, sent.name, sent.tenant)
        made(call, people, person.name)
        return list(database)
      },
    }),
    changing(deps, {
      method: 'PATCH',
      path: `${people}/:name`,
      summary: 'Give a person another name or tenant',
      body: z.strictObject({ name: name.optional(), tenant: name.optional() }),
      async apply(sent, call) {
        if (sent.tenant !== undefined) await keepAdminIn(database, named(call), sent.tenant)
        await changePerson(database, named(call), sent)
        return list(database)
      },
    }),
    changing(deps, {
      method: 'DELETE',
      path: `${people}/:name`,
      summary: 'Remove a person who has nothing any more',
      body: nothing,
      async apply(_, call) {
        await removePerson(database, named(call))
        return list(database)
      },
    }),
  ]
}

async function keepAdminIn(database: Database, person: string, tenant: string): Promise<void> {
  const { disabledAt } = await findTenant(database, tenant)
  if (disabledAt !== null && (await firstPerson(database)).name === person.trim().normalize('NFC'))
    throw conflict(
      'own_tenant',
      `“${tenant}” is disabled: you would be shut out.`,
      'Enable it first, or choose another tenant.',
    )
}

async function list(database: Database): Promise<PeopleList> {
  const all = await viewPeople(database)
  return {
    tenants: all.map((tenant) => ({
      name: tenant.name,
      disabled: tenant.disabledAt !== null,
      home: tenant.id === homeTenant.id,
      people: tenant.people,
    })),
  }
}
