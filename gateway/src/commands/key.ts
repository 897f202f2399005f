/** `sotto key`: API keys for programs. */
import {
  acted,
  common,
  table,
  withNetwork,
  type CommonOptions,
} from '@sotto/provisioning/commands/network-state.ts'
import type { Output } from '@sotto/provisioning/commands/output.ts'
import type { MadeKey } from '@sotto/provisioning/registry/key.ts'
import { Command } from 'commander'
import { when, withLedger } from './ledger-state.ts'
import { readAllowance, withAllowance, type AllowanceOptions } from './limit.ts'

export function keyCommand(output: Output): Command {
  return new Command('key')
    .description('API keys, for programs')
    .addCommand(add(output))
    .addCommand(list(output))
    .addCommand(rotate(output))
    .addCommand(change(output, 'disable', 'end what a key has open, and let it in no more'))
    .addCommand(change(output, 'enable', 'let a disabled key in again'))
    .addCommand(expire(output))
    .addCommand(change(output, 'remove', 'end a key for good'))
}

interface AddOptions extends CommonOptions, AllowanceOptions {
  readonly person?: string
  readonly device?: string
  readonly from?: string
  readonly expires?: string
  readonly logPrompts?: string
}

function add(output: Output): Command {
  const command = common(new Command('add'))
    .description('make a key and show it, once')
    .argument('<name>', 'what to call it, for example "backup script"')
    .option('--person <name>', 'whose it is (default: the admin)')
    .option('--device <name>', 'the one device that may use it')
    .option('--from <ranges>', 'the overlay addresses that may use it, with commas between them')
    .option('--expires <when>', 'a date, or a time from now such as 90d')
    .option('--log-prompts <life>', 'keep what it asks and is answered for that long, for example 7d')
  return withAllowance(command).action(async (name: string, options: AddOptions) => {
    const { readDuration, readList, readTime } = await import('@sotto/provisioning/commands/arguments.ts')
    const { personOf } = await import('@sotto/provisioning/registry/person.ts')
    const { addKey } = await import('@sotto/provisioning/registry/key.ts')
    const { findDevice } = await import('@sotto/provisioning/registry/device.ts')
    const allowance = await readAllowance(options)
    await withNetwork(options, async (opened) => {
      const { database } = opened
      const ranges = options.from === undefined ? null : readList(options.from)
      const made = await addKey(database, {
        name,
        person: await personOf(database, options.person),
        allowance,
        ...(options.device !== undefined && { device: await findDevice(database, options.device) }),
        ...(ranges && { ranges }),
        ...(options.expires !== undefined && { expiresAt: readTime(options.expires) }),
        ...(options.logPrompts !== undefined && { promptLogMs: readDuration(options.logPrompts) }),
      })
      await acted(opened)
      await show(output, made, `Made “${made.key.name}” for ${made.key.person}. It is shown this once:`)
    })
  })
}

function rotate(output: Output): Command {
  return common(new Command('rotate'))
    .description('give a key another secret; the old one goes on for a while')
    .argument('<name>')
    .option('--overlap <time>', 'how long the old one goes on', '1d')
    .action(async (name: string, options: CommonOptions & { overlap: string }) => {
      const { readDuration } = await import('@sotto/provisioning/commands/arguments.ts')
      const { rotateKey } = await import('@sotto/provisioning/registry/key.ts')
      await withNetwork(options, async (opened) => {
        const made = await rotateKey(opened.database, name, readDuration(options.overlap))
        await acted(opened)
        await show(
          output,
          made,
          `Another secret for “${made.key.name}”; the old one ends in ${options.overlap}:`,
        )
      })
    })
}

function list(output: Output): Command {
  return common(new Command('list'))
    .description('the keys, where they may be used, and when they were last')
    .action(async (options: CommonOptions) => {
      const { viewKeys } = await import('@sotto/provisioning/registry/view.ts')
      const { readKeyUses } = await import('#ledger/report.ts')
      await withNetwork(options, async ({ database }) =>
        withLedger(options, async (ledger) => {
          const uses = await readKeyUses(ledger)
          const keys = (await viewKeys(database)).map((key) => ({
            ...key,
            lastUse: uses.get(key.id) ?? null,
          }))
          const lines = keys.map((key) => [
            key.name,
            key.person,
            key.prefixes.join(' '),
            key.state,
            key.device ?? key.ranges?.join(' ') ?? 'anywhere',
            key.lastUse ? `${when(key.lastUse.lastAt)} from ${key.lastUse.address}` : 'never',
          ])
          output.result(
            { keys },
            keys.length === 0
              ? 'There is no key. Make one: ./sotto key add NAME'
              : table([['NAME', 'PERSON', 'PREFIX', 'STATE', 'FROM', 'LAST USE'], ...lines]),
          )
        }),
      )
    })
}

const says = { disable: 'is disabled', enable: 'is of use again', remove: 'is gone' }

function change(output: Output, how: keyof typeof says, description: string): Command {
  return common(new Command(how))
    .description(description)
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const { removeKey, setKeyDisabled, withoutHashes } = await import('@sotto/provisioning/registry/key.ts')
      await withNetwork(options, async (opened) => {
        const key =
          how === 'remove'
            ? await removeKey(opened.database, name)
            : await setKeyDisabled(opened.database, name, how === 'disable')
        await acted(opened)
        output.result({ key: withoutHashes(key) }, `The key “${key.name}” ${says[how]}.`)
      })
    })
}

function expire(output: Output): Command {
  return common(new Command('expire'))
    .description('say until when a key is of use')
    .argument('<name>')
    .argument('<when>', 'a date, a time from now such as 30d, now, or never')
    .action(async (name: string, at: string, options: CommonOptions) => {
      const { readTime } = await import('@sotto/provisioning/commands/arguments.ts')
      const { expireKey, withoutHashes } = await import('@sotto/provisioning/registry/key.ts')
      await withNetwork(options, async (opened) => {
        const key = await expireKey(opened.database, name, at === 'never' ? null : readTime(at))
        await acted(opened)
        output.result(
          { key: withoutHashes(key) },
          `The key “${key.name}” is of use until ${key.expiresAt ?? 'it is removed'}.`,
        )
      })
    })
}

async function show(output: Output, { key, secret }: MadeKey, text: string): Promise<void> {
  const { withoutHashes } = await import('@sotto/provisioning/registry/key.ts')
  output.result({ key: withoutHashes(key), secret }, `${text}\n\n${secret}`)
}
