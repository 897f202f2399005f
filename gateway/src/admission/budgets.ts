/**
 * Budgets of tokens: reserved before a request, settled after it. This process decides by what it holds in
 * memory; on disk there is, before a request goes on, at least as much as may be spent by then. So a crash
 * leaves every reservation counted, and the next start takes it as spent.
 */
import type { Held } from '#identity/caller.ts'
import type { Ledger, Spending } from '#ledger/ledger.ts'
import { Failure } from '../failure.ts'
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
  spent(subject: string): Spent
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

/** A budget in a window. The ledger writes what it is when it writes. */
class Account implements Spending {
  readonly subject: string
  readonly window: string
  used: number
  /** Of requests that are on their way. */
  reserved = 0
  /** What is on disk at the least, as used and held together. */
  durable: number
  /** What the next write says. */
  written: number
  /** Writes on their way that raise it, with what they say at the least. */
  readonly rising = new Set<{ total: number }>()
  landing: Promise<void> = landed
  /** Reserved in this and in the last tenth of a second: at that pace more is held, so that not each waits. */
  recent = 0
  before = 0
  since = 0
  /** Stays held between requests, so that the next one like the last does not wait for the disk. */
  float = 0

  constructor(subject: string, window: string, used = 0) {
    this.subject = subject
    this.window = window
    this.used = used
    this.durable = used
    this.written = used
  }

  get taken(): number {
    return this.used + this.reserved
  }

  get held(): number {
    return this.written - this.used
  }

  /** What is held beyond what is taken: enough for the pace of now, and for the next few at any. */
  get slack(): number {
    return Math.max(this.float, 2 * this.before)
  }

  lower(to: number): void {
    this.written = Math.min(this.written, to)
    this.durable = Math.min(this.durable, to)
    for (const write of this.rising) write.total = Math.min(write.total, to)
  }

  pace(tokens: number, now: number): void {
    if (now - this.since >= paceMs) {
      this.before = now - this.since < 2 * paceMs ? this.recent : 0
      this.recent = 0
      this.since = now
    }
    this.recent += tokens
  }
}

interface Limit {
  readonly account: Account
  readonly limit: number
  readonly label: string
  readonly name: string
}

const paceMs = 100
/** For a disk or a database to be there again. */
const retrySeconds = 5
/** A crash takes what is held for spent: between requests that is never more than this part of a budget. */
const floatPart = 0.01
const floatRequests = 16
const landed = Promise.resolve()

export function createBudgets(
  ledger: Pick<Ledger, 'spend' | 'note'>,
  before: readonly Spending[],
  now: () => number = Date.now,
): Budgets {
  // What a crash left on its way counts as spent.
  const accounts = new Map(
    before.map((one) => [
      nameOf(one.subject, one.window),
      new Account(one.subject, one.window, one.used + one.held),
    ]),
  )
  ledger.note(accounts.values())
  const account = (subject: string, window: string): Account => {
    const name = nameOf(subject, window)
    const known = accounts.get(name)
    if (known) return known
    const made = new Account(subject, window)
    accounts.set(name, made)
    return made
  }

  /** What holds a caller stays the same from request to request, until the day ends or the admin changes it. */
  const known = new WeakMap<
    readonly Held[],
    { readonly windows: Windows; readonly limits: readonly Limit[] }
  >()
  const limitsOf = (held: readonly Held[]): readonly Limit[] => {
    const windows = windowsAt(now())
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
  const secure = async (limits: readonly Limit[]): Promise<void> => {
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
      if (room < least || room <= 0) throw spent(tightest, least)
      const tokens = Math.min(wanted, room)
      for (const { account: one, limit } of limits) {
        one.reserved += tokens
        one.float =
          tokens > limit * floatPart ? 0 : Math.floor(Math.min(floatRequests * tokens, limit * floatPart))
        one.pace(tokens, now())
      }
      let open = true
      const settle = (used: number): void => {
        if (!open) return
        open = false
        for (const { account: one } of limits) {
          one.reserved -= tokens
          one.used += used
          one.pace(0, now())
          // What is held goes down to what is needed at the pace of now.
          one.lower(one.taken + one.slack)
          one.written = Math.max(one.written, one.taken)
          ledger.note([one])
        }
        restSoon()
      }
      try {
        await secure(limits)
      } catch (error) {
        settle(0)
        throw new Failure(
          'unavailable',
          'What is spent can’t be written down now, so nothing is spent.',
          error,
          { retryAfter: retrySeconds },
        )
      }
      return { tokens, settle }
    },
    spent(subject) {
      const { tokensPerDay, tokensPerMonth, tokensInTotal } = windowsAt(now())
      const taken = (window: string) => accounts.get(nameOf(subject, window))?.taken ?? 0
      return { day: taken(tokensPerDay), month: taken(tokensPerMonth), total: taken(tokensInTotal) }
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

function roomIn({ account, limit }: Limit): number {
  return limit - account.taken
}

function spent(limit: Limit | undefined, least: number): Failure {
  const left = limit ? Math.max(0, roomIn(limit)) : 0
  return new Failure(
    'quota',
    `${limit?.name ?? 'A'} budget of ${limit?.label ?? 'this caller'} has ${left} tokens left; this request needs up to ${least}. ` +
      'Ask for a shorter answer, wait for the next window, or ask the admin for more.',
  )
}
