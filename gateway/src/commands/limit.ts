/** `sotto limit`: what a tenant, key or device may use, and how much. */
import {
  acted,
  common,
  table,
  withNetwork,
  type CommonOptions,
} from '@sotto/provisioning/commands/network-state.ts'
import type { Output } from '@sotto/provisioning/commands/output.ts'
import type { Allowance } from '@sotto/provisioning/registry/allowance.ts'
import { Command } from 'commander'
import { withLedger } from './ledger-state.ts'

/** Options that take a part of an allowance, what they say, and what is said of it. */
const numbers = {
  requestsPerMinute: ['--requests-per-minute <n>', 'requests in a minute', 'requests a minute'],
  tokensPerMinute: ['--tokens-per-minute <n>', 'tokens in a minute', 'tokens a minute'],
  concurrent: ['--concurrent <n>', 'requests that are open at once', 'at once'],
  tokensPerDay: ['--tokens-per-day <n>', 'budget of a day (UTC)', 'tokens a day'],
  tokensPerMonth: ['--tokens-per-month <n>', 'budget of a month', 'tokens a month'],
  tokensInTotal: ['--tokens-in-total <n>', 'budget for good', 'tokens in all'],
} as const satisfies Partial<
  Record<keyof Allowance, readonly [flags: string, description: string, said: string]>
>

export type AllowanceOptions = { readonly [part in keyof typeof numbers]?: string } & {
  readonly services?: string
  readonly models?: string
}

export function withAllowance(command: Command): Command {
  command
    .option(
      '--services <names>',
      'chat, embeddings, transcription, speech, images, realtime, rooms or a service’s name; or all',
    )
    .option('--models <names>', 'names with commas between them, where * stands for any text; or all')
  for (const [flags, description] of Object.values(numbers)) command.option(flags, `${description}; or none`)
  return command
}

/** The parts that were given. Throws a `Problem`. */
export async function readAllowance(options: AllowanceOptions): Promise<Partial<Allowance>> {
  const { readList } = await import('@sotto/provisioning/commands/arguments.ts')
  const { Problem } = await import('@sotto/provisioning/problem.ts')
  const parts: [string, unknown][] = []
  for (const [part, [flags]] of Object.entries(numbers)) {
    const text = Object.entries(options).find(([name]) => name === part)?.[1]
    if (text === undefined) continue
    const value = text === 'none' ? null : Number(text.replaceAll('_', ''))
    if (value !== null && !(Number.isSafeInteger(value) && value >= 0))
      throw new Problem(
        'allowance',
        `${flags.split(' ')[0]}: “${text}” is no whole number.`,
        'Give one, or none.',
      )
    parts.push([part, value])
  }
  if (options.services !== undefined) parts.push(['services', readList(options.services)])
  if (options.models !== undefined) parts.push(['models', readList(options.models)])
  return Object.fromEntries(parts)
}

export function limitCommand(output: Output): Command {
  const command = common(new Command('limit'))
    .description('what a tenant, key or device may use, and how much; without options, what it is')
    .argument('[party]', 'tenant:NAME, key:NAME or device:NAME; left out, all that are held to anything')
  return withAllowance(command).action(
    async (party: string | undefined, options: CommonOptions & AllowanceOptions) => {
      const { setAllowance } = await import('@sotto/provisioning/registry/party.ts')
      const changes = await readAllowance(options)
      await withNetwork(options, async (opened) => {
        const { database } = opened
        if (party !== undefined && Object.keys(changes).length > 0) {
          await setAllowance(database, party, changes)
          await acted(opened)
        }
        await withLedger(options, async (ledger) => {
          const left = await whatIsLeft(ledger)
          output.result(
            ...(await (party === undefined ? listAll(database, left) : show(database, party, left))),
          )
        })
      })
    },
  )
}

type Database = import('@sotto/provisioning/database.ts').Database
type Left = (subject: string, allowance: Allowance) => Record<string, number>

/** Of the budgets in an allowance, the tokens that are left in the windows of now. */
async function whatIsLeft(ledger: import('#ledger/database.ts').LedgerDatabase): Promise<Left> {
  const { readSpending } = await import('#ledger/report.ts')
  const { windowsAt } = await import('#admission/window.ts')
  const spent = await readSpending(ledger)
  const windows = Object.entries(windowsAt(Date.now()))
  return (subject, allowance) =>
    Object.fromEntries(
      windows.flatMap(([part, window]) => {
        const limit = Object.entries(allowance).find(([name]) => name === part)?.[1]
        return typeof limit === 'number'
          ? [[part, Math.max(0, limit - (spent.get(`${subject} ${window}`) ?? 0))]]
          : []
      }),
    )
}

async function show(database: Database, party: string, left: Left): Promise<[object, string]> {
  const { findAllowance } = await import('@sotto/provisioning/registry/party.ts')
  const { subject, allowance } = await findAllowance(database, party)
  const rest = left(subject, allowance)
  return [{ party, allowance, left: rest }, `${party}: ${describe(allowance, rest)}`]
}

async function listAll(database: Database, left: Left): Promise<[object, string]> {
  const { listAllowances } = await import('@sotto/provisioning/registry/party.ts')
  const all = (await listAllowances(database)).map(({ party, subject, allowance }) => ({
    party,
    allowance,
    left: left(subject, allowance),
  }))
  return [
    { allowances: all },
    all.length === 0
      ? 'Nobody is held to anything. For example: ./sotto limit tenant:home --tokens-per-day 1000000'
      : table([['WHO', 'MAY'], ...all.map((one) => [one.party, describe(one.allowance, one.left)])]),
  ]
}

function describe(allowance: Allowance, left: Record<string, number>): string {
  const parts = [
    ...(allowance.services ? [`for ${allowance.services.join(', ')}`] : []),
    ...(allowance.models ? [`models ${allowance.models.join(', ')}`] : []),
    ...Object.entries(numbers).flatMap(([part, [, , said]]) => {
      const value = Object.entries(allowance).find(([name]) => name === part)?.[1]
      if (typeof value !== 'number') return []
      const rest = left[part]
      return [`${value} ${said}${rest === undefined ? '' : ` (${rest} left)`}`]
    }),
  ]
  return parts.length === 0 ? 'everything' : parts.join('; ')
}
