/** What is taken of budgets, in Valkey: the database has what each gateway spent, and this has the sum of now. */
import { keyOf, type Valkey } from '#valkey/valkey.ts'
import type { Account } from './account.ts'
import type { BudgetLimit, SharedBudgets } from './budgets.ts'
import { windowsAt } from './window.ts'

const dayMs = 86_400_000

interface Followed {
  readonly account: Account
  raise(tokens: number): void
  /** Resolves when what this process has of it was said for the first time; undefined before that is asked for. */
  said: Promise<void> | undefined
}

/** @param othersOf what other gateways have of a budget by the database. Throws a `Failure` */
export function createSharedBudgets(
  valkey: Valkey,
  othersOf: (subject: string, window: string) => Promise<readonly (readonly [string, number])[]>,
): SharedBudgets {
  const followed = new Map<Account, Followed>()
  const hold = async (run: Valkey['run'], these: readonly Followed[]): Promise<void> => {
    const told = these.map(({ account, said }) => ({ has: account.granted, mode: said ? 'is' : 'least' }))
    const had = await run(
      'hold',
      these.map(({ account }) => keyFor(account.subject, account.window)),
      these.flatMap(({ account }, at) => [told[at]?.has ?? 0, told[at]?.mode ?? '', keepMs(account.window)]),
    )
    for (const [at, one] of these.entries()) {
      const more = Number(had[at]) - (told[at]?.has ?? 0)
      if (more > 0) one.raise(more)
      one.said = Promise.resolve()
    }
  }
  valkey.onConnect(async (run) => {
    const windows = new Set<string>(Object.values(windowsAt(Date.now())))
    const these = [...followed.values()].filter(({ account }) => windows.has(account.window))
    if (these.length > 0) await hold(run, these)
  })
  /** A budget that was first heard of since we connected. */
  const said = async (account: Account): Promise<void> => {
    const one = followed.get(account)
    if (!one) return
    one.said ??= hold(valkey.run, [one]).catch((error: unknown) => {
      one.said = undefined
      throw error
    })
    await one.said
  }
  /** After each start of the server: who is gone can't say it. */
  const sayOthers = async ({ subject, window }: Account): Promise<void> => {
    const others = await othersOf(subject, window)
    await valkey.run('others', [keyFor(subject, window)], others.flat())
  }
  const keysOf = (limits: readonly BudgetLimit[]): string[] =>
    limits.map(({ account }) => keyFor(account.subject, account.window))
  return {
    follow: (account, raise) => void followed.set(account, { account, raise, said: undefined }),
    async take(limits, least, wanted) {
      await Promise.all(limits.map(({ account }) => said(account)))
      for (;;) {
        const [verdict, first, second] = await valkey.run('reserve', keysOf(limits), [
          least,
          wanted,
          ...limits.flatMap(({ account, limit }) => [limit, keepMs(account.window)]),
        ])
        if (verdict === 'ok') return Number(first)
        const at = Number(first) - 1
        const unknown = verdict === 'unknown' ? limits[at]?.account : undefined
        if (!unknown) return { at, left: Number(second) }
        await sayOthers(unknown)
      }
    },
    giveBack: (limits, tokens) => valkey.tell('return', keysOf(limits), [tokens]),
    async taken(subject, windows) {
      const sums = await valkey
        .run(
          'spent',
          windows.map((window) => keyFor(subject, window)),
          [],
        )
        .catch(() => undefined)
      return sums?.map(Number)
    },
  }
}

function keyFor(subject: string, window: string): string {
  return keyOf('budget', `${subject} ${window}`)
}

/** Longer than the window, so that what is over goes by itself. */
function keepMs(window: string): number {
  return (window === 'total' ? 400 : 40) * dayMs
}
