/** `sotto person`: whose devices and keys there are. */
import { Command } from 'commander'
import { acted, common, table, withNetwork, type CommonOptions } from './network-state.ts'
import type { Output } from './output.ts'

export function personCommand(output: Output): Command {
  return new Command('person')
    .description('whose devices and keys there are')
    .addCommand(list(output))
    .addCommand(add(output))
    .addCommand(rename(output))
    .addCommand(remove(output))
    .addCommand(mails(output))
}

function list(output: Output): Command {
  return common(new Command('list'))
    .description('the people, their tenants, and what each of them has')
    .action(async (options: CommonOptions) => {
      const { viewPeople } = await import('#registry/view.ts')
      await withNetwork(options, async ({ database }) => {
        const people = (await viewPeople(database)).flatMap(({ name: tenant, people: own }) =>
          own.map((person) => ({ ...person, tenant })),
        )
        const lines = people.map(({ name, tenant, admin, devices, keys, account }) => [
          name,
          tenant,
          String(devices),
          String(keys),
          account ? (account.mail ?? 'yes') : '',
          admin ? 'the admin' : '',
        ])
        output.result({ people }, table([['NAME', 'TENANT', 'DEVICES', 'KEYS', 'ACCOUNT', ''], ...lines]))
      })
    })
}

function add(output: Output): Command {
  return common(new Command('add'))
    .description('add a person')
    .argument('<name>')
    .option('--tenant <name>', 'to which they belong (default: the first)')
    .action(async (name: string, options: CommonOptions & { tenant?: string }) => {
      const { addPerson } = await import('#registry/person.ts')
      await withNetwork(options, async (opened) => {
        const person = await addPerson(opened.database, name, options.tenant)
        await acted(opened)
        output.result(
          { person },
          `${person.name} is there. A device for them: ./sotto device add NAME --person "${person.name}"`,
        )
      })
    })
}

function rename(output: Output): Command {
  return common(new Command('rename'))
    .description('give a person another name')
    .argument('<name>')
    .argument('<new-name>')
    .action(async (name: string, to: string, options: CommonOptions) => {
      const { changePerson } = await import('#registry/person.ts')
      await withNetwork(options, async (opened) => {
        const person = await changePerson(opened.database, name, { name: to })
        await acted(opened)
        output.result({ person }, `“${name}” is now “${person.name}”.`)
      })
    })
}

function remove(output: Output): Command {
  return common(new Command('remove'))
    .description('remove a person who has no device and no key any more')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const { removePerson } = await import('#registry/person.ts')
      await withNetwork(options, async (opened) => {
        const person = await removePerson(opened.database, name)
        await acted(opened)
        output.result({ person }, `${person.name} is gone.`)
      })
    })
}

function mails(output: Output): Command {
  return common(new Command('mails'))
    .description('what became of the mail of the last 30 days: invitations, sign-ups, new passwords')
    .action(async (options: CommonOptions) => {
      const { listMails } = await import('#registry/mail.ts')
      await withNetwork(options, async ({ database }) => {
        const all = await listMails(database)
        const lines = all.map(({ recipient, kind, createdAt, sentAt, nextAt, error }) => [
          recipient,
          kind,
          createdAt,
          sentAt === null ? (nextAt === null ? 'failed' : `waits until ${nextAt}`) : 'sent',
          error ?? '',
        ])
        output.result(
          { mails: all },
          all.length === 0
            ? 'No mail was to be sent.'
            : table([['TO', 'KIND', 'SINCE', 'STATE', 'LAST ERROR'], ...lines]),
        )
      })
    })
}
