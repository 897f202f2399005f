/** `sotto tenant`: who belongs together, and is held to limits together. */
import {
  acted,
  common,
  table,
  withNetwork,
  type CommonOptions,
} from '@sotto/provisioning/commands/network-state.ts'
import type { Output } from '@sotto/provisioning/commands/output.ts'
import { Command } from 'commander'

export function tenantCommand(output: Output): Command {
  return new Command('tenant')
    .description('families, teams, guests: who is held to limits together')
    .addCommand(list(output))
    .addCommand(change(output, 'add', 'make a tenant'))
    .addCommand(change(output, 'disable', 'serve nothing of it, and end what it has open'))
    .addCommand(change(output, 'enable', 'serve it again'))
    .addCommand(change(output, 'remove', 'remove one that nobody belongs to'))
    .addCommand(move(output))
}

function list(output: Output): Command {
  return common(new Command('list'))
    .description('the tenants and their people')
    .action(async (options: CommonOptions) => {
      const { listTenants } = await import('@sotto/provisioning/registry/tenant.ts')
      await withNetwork(options, async ({ database }) => {
        const tenants = await listTenants(database)
        const lines = tenants.map(({ name, people, disabledAt }) => [
          name,
          disabledAt === null ? '' : 'disabled',
          people.join(', '),
        ])
        output.result({ tenants }, table([['NAME', '', 'PEOPLE'], ...lines]))
      })
    })
}

const says = { add: 'is there', disable: 'is disabled', enable: 'is served again', remove: 'is gone' }

function change(output: Output, how: keyof typeof says, description: string): Command {
  return common(new Command(how))
    .description(description)
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const { addTenant, removeTenant, setTenantDisabled } =
        await import('@sotto/provisioning/registry/tenant.ts')
      await withNetwork(options, async (opened) => {
        const { database } = opened
        const tenant =
          how === 'add'
            ? await addTenant(database, name)
            : how === 'remove'
              ? await removeTenant(database, name)
              : await setTenantDisabled(database, name, how === 'disable')
        await acted(opened)
        output.result({ tenant }, `The tenant “${tenant.name}” ${says[how]}.`)
      })
    })
}

function move(output: Output): Command {
  return common(new Command('move'))
    .description('put a person into a tenant, with devices and keys')
    .argument('<person>')
    .argument('<tenant>')
    .action(async (person: string, name: string, options: CommonOptions) => {
      const { changePerson } = await import('@sotto/provisioning/registry/person.ts')
      const { findTenant } = await import('@sotto/provisioning/registry/tenant.ts')
      await withNetwork(options, async (opened) => {
        await changePerson(opened.database, person, { tenant: name })
        const tenant = await findTenant(opened.database, name)
        await acted(opened)
        output.result({ person, tenant }, `${person} belongs to “${tenant.name}” now.`)
      })
    })
}
