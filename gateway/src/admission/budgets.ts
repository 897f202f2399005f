/**
 * Budgets of tokens: reserved before a request, settled after it. This process decides by what it holds in
 * memory; on disk there is, before a request goes on, at least as much as may be spent by then. So a crash
 * leaves every reservation counted, and the next start takes it as spent.
 */
import { isDiskProblem } from '@sotto/provisioning/disk.ts'
import type { Held } from '#identity/caller.ts'
import type { Ledger, Spending } from '#ledger/ledger.ts'
import { diskFailure, Failure } from '../failure.ts'
import { Account, paceMs } from './account.ts'
import { windowsAt, type Windows } from './window.ts'

export interface Budgets {
  /**
   * Reserves tokens of every budget in the way, or of none. Throws a `Failure` `quota` where one of them has
   * not that much left, `unavailable` where it can't be written down. The promise resolves when it is on disk.
   *
   * @param least what is needed at the least; where `wanted` is more than is left, what is left is taken
   */
  reserve(held: readonly Held[], least: number, wanted: number): Promise<Reservation>
  /** Tokens spent, or on their way, in the windows of now. */
  spent(subject: string): Promise<Spent>
  /** Writes that nothing is held but for what is on its way. */
  release(): void
}

export interface Spent {
  readonly day: number
  readonly month: number
  readonly total: number
}

export interface Reservation {
  readonly tokens: number
  /** Gives back what was not used. Only the first call counts. */
  settle(used: number): void
}

/** What several gateways have taken of the budgets that they share. */
export interface SharedBudgets {
  /** @param raise is told of tokens that this gateway had taken of it and knew nothing of */
  follow(account: Account, raise: (tokens: number) => void): void
  /**
   * Takes of each as many tokens as all of them have left, at most `wanted`. Throws a `Failure` `unavailable`.
   *
   * @returns the tokens; or the place of the budget that has fewer than `least`, and what it has
   */
  take(limits: readonly BudgetLimit[], least: number, wanted: number): Promise<number | Short>
  giveBack(limits: readonly BudgetLimit[], tokens: number): void
  /** What all have of the subject's budgets in these windows; undefined while that is not known. */
  taken(subject: string, windows: readonly string[]): Promise<readonly number[] | undefined>
}

export interface Short {
  readonly at: number
  readonly left: number
}

export interface BudgetLimit {
  readonly account: Account
  readonly limit: number
  readonly label: string
  readonly name: string
}

/** For a disk or a database to be there again. */
const retrySeconds = 5
/** A crash takes what is held for spent: between requests that is never more than this part of a budget. */
const floatPart = 0.01
const floatRequests = 16

export function createBudgets(
  ledger: Pick<Ledger, 'spend' | 'note'>,
  before: { readonly own?: readonly Spending[]; readonly others?: readonly Spending[] } = {},
  shared?: SharedBudgets,
): Budgets {
  // What a crash left on its way counts as spent.
  const accounts = new Map(
    (before.own ?? []).map((one) => [
      nameOf(one.subject, one.window),
      new Account(one.subject, one.window, one.used + one.held),
    ]),
  )
  ledger.note(accounts.values())
  const share = (one: Account): void =>
    shared?.follow(one, (tokens) => {
      one.used += tokens
      one.written = Math.max(one.written, one.taken)
      ledger.note([one])
    })
  accounts.forEach(share)
  const account = (subject: string, window: string): Account => {
    const name = nameOf(subject, window)
    const known = accounts.get(name)
    if (known) return known
    const made = new Account(subject, window)
    accounts.set(name, made)
    share(made)
    return made
  }

  if (!shared)
    for (const { subject, window, used, held } of before.others ?? [])
      account(subject, window).others += used + held

  /** What holds a caller stays the same from request to request, until the day ends or the admin changes it. */
  const known = new WeakMap<
    readonly Held[],
    { readonly windows: Windows; readonly limits: readonly BudgetLimit[] }
  >()
  const limitsOf = (held: readonly Held[]): readonly BudgetLimit[] => {
    const windows = windowsAt(Date.now())
    const found = known.get(held)
    if (found?.windows === windows) return found.limits
    const limits = held.flatMap((one) =>
      (
        [
          [windows.tokensPerDay, one.tokensPerDay, 'today’s'],
          [windows.tokensPerMonth, one.tokensPerMonth, 'this month’s'],
          [windows.tokensInTotal, one.tokensInTotal, 'the whole'],
        ] as const
      ).flatMap(([window, limit, name]) =>
        limit === null ? [] : [{ account: account(one.subject, window), limit, label: one.label, name }],
      ),
    )
    known.set(held, { windows, limits })
    return limits
  }

  const rest = (): void => {
    const idle = [...accounts.values()].filter((one) => one.held > one.reserved + one.float)
    for (const one of idle) one.lower(one.taken + one.float)
    if (idle.length > 0) ledger.note(idle)
  }
  let timer: NodeJS.Timeout | undefined
  const restSoon = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      rest()
    }, 2 * paceMs).unref()
  }
  const secure = async (limits: readonly BudgetLimit[]): Promise<void> => {
    const short = limits.filter(({ account: one }) => one.taken > one.durable)
    if (short.length === 0) return
    const more = short.filter(({ account: one }) => one.taken > one.written || one.rising.size === 0)
    if (more.length > 0) {
      for (const { account: one, limit } of more)
        one.written = Math.max(one.taken, Math.min(limit, one.taken + one.slack))
      const landing = ledger.spend(more.map(({ account: one }) => one))
      for (const { account: one } of more) {
        const write = { total: one.written }
        one.rising.add(write)
        one.landing = landing
          .then(() => {
            one.durable = Math.max(one.durable, write.total)
          })
          .finally(() => one.rising.delete(write))
        one.landing.catch(() => {})
      }
    }
    // Others' writes, too: what they wrote has what was reserved since in it, but is not there yet.
    await Promise.all(short.map(({ account: one }) => one.landing))
  }
  return {
    async reserve(held, least, wanted) {
      const limits = limitsOf(held)
      if (limits.length === 0) return { tokens: wanted, settle() {} }
      let room = Infinity
      let tightest = limits[0]
      for (const one of limits)
        if (roomIn(one) < room) {
          room = roomIn(one)
          tightest = one
        }
      if (room < least || room <= 0) throw spent(tightest, least, tightest ? roomIn(tightest) : 0)
      let tokens = Math.min(wanted, room)
      for (const { account: one, limit } of limits) {
        one.reserved += tokens
        one.asked += tokens
        one.float =
          tokens > limit * floatPart ? 0 : Math.floor(Math.min(floatRequests * tokens, limit * floatPart))
        one.pace(tokens, performance.now())
      }
      /** Down to what was granted; the rest was asked for and is let go. */
      const grant = (granted: number): void => {
        for (const { account: one } of limits) {
          one.asked -= tokens
          one.reserved -= tokens - granted
        }
        tokens = granted
      }
      let open = true
      const settle = (used: number): void => {
        if (!open) return
        open = false
        for (const { account: one } of limits) {
          one.reserved -= tokens
          one.used += used
          one.pace(0, performance.now())
          // What is held goes down to what is needed at the pace of now.
          one.lower(one.taken + one.slack)
          one.written = Math.max(one.written, one.taken)
          ledger.note([one])
        }
        if (tokens !== used) shared?.giveBack(limits, tokens - used)
        restSoon()
      }
      try {
        await secure(limits)
      } catch (error) {
        grant(0)
        settle(0)
        if (isDiskProblem(error)) throw diskFailure(error.code, error)
        throw new Failure(
          'unavailable',
          'What is spent can’t be written down now, so nothing is spent.',
          error,
          { retryAfter: retrySeconds },
        )
      }
      try {
        // After it is on disk: what the others are told of it outlives this process.
        const granted = shared ? await shared.take(limits, least, tokens) : tokens
        if (typeof granted !== 'number') throw spent(limits[granted.at], least, granted.left)
        grant(granted)
      } catch (error) {
        grant(0)
        settle(0)
        throw error
      }
      return { tokens, settle }
    },
    async spent(subject) {
      const { tokensPerDay, tokensPerMonth, tokensInTotal } = windowsAt(Date.now())
      const windows = [tokensPerDay, tokensPerMonth, tokensInTotal]
      const [day = 0, month = 0, total = 0] =
        (await shared?.taken(subject, windows)) ??
        windows
          .map((window) => accounts.get(nameOf(subject, window)))
          .map((one) => (one ? one.taken + one.others : 0))
      return { day, month, total }
    },
    release() {
      for (const one of accounts.values()) one.float = 0
      rest()
    },
  }
}

function nameOf(subject: string, window: string): string {
  return `${subject} ${window}`
}

function roomIn({ account, limit }: BudgetLimit): number {
  return limit - account.taken - account.others
}

function spent(limit: BudgetLimit | undefined, least: number, left: number): Failure {
  return new Failure(
    'quota',
    `${limit?.name ?? 'A'} budget of ${limit?.label ?? 'this caller'} has ${Math.max(0, left)} tokens left; this request needs up to ${least}. ` +
      'Ask for a shorter answer, wait for the next window, or ask the admin for more.',
  )
}
