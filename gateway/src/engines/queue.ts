/**
 * Who goes next, where an engine answers only so many at once: tenants in turn, and within each its callers in
 * turn, so that one who sends a hundred requests holds nobody else up.
 */
import { Failure } from '../failure.ts'

export interface Turn {
  readonly tenant: string
  readonly caller: string
  readonly signal: AbortSignal
  /** How many go before, whenever that changes; not called for one who need not wait. */
  onWait?(position: number): void
}

export interface FairQueue {
  /** How many are being answered, and how many wait. */
  readonly running: number
  readonly waiting: number
  /**
   * Resolves, when it is this one's turn, to what ends the turn. Throws a `Failure` `busy` where too many
   * wait, or the signal's reason.
   */
  enter(turn: Turn): Promise<() => void>
}

interface Waiting extends Turn {
  begin(): void
}

/** More than that would wait for minutes, and their clients give up before. */
const maxWaiting = 128
const maxWaitingOfCaller = 64

/** @param parallel how many at once */
export function createFairQueue(parallel: number): FairQueue {
  let running = 0
  let waiting = 0
  /** Tenants in the order of their turns, each with its callers in theirs. */
  const tenants = new Map<string, Map<string, Waiting[]>>()

  const leave = (): (() => void) => {
    let gone = false
    return () => {
      if (gone) return
      gone = true
      running -= 1
      next()
    }
  }
  const next = (): void => {
    while (running < parallel) {
      const first = take(tenants)
      if (!first) return
      waiting -= 1
      running += 1
      first.begin()
    }
    if (waiting > 0) tell(tenants)
  }
  return {
    get running() {
      return running
    },
    get waiting() {
      return waiting
    },
    enter(turn) {
      if (running < parallel && waiting === 0) {
        running += 1
        return Promise.resolve(leave())
      }
      const callers = tenants.get(turn.tenant) ?? new Map<string, Waiting[]>()
      const line = callers.get(turn.caller) ?? []
      if (waiting >= maxWaiting || line.length >= maxWaitingOfCaller)
        return Promise.reject(
          new Failure('busy', `${waiting} requests wait already. Try again later.`, undefined, {
            retryAfter: 10,
          }),
        )
      tenants.set(turn.tenant, callers)
      callers.set(turn.caller, line)
      return new Promise((settle, fail) => {
        const one: Waiting = {
          ...turn,
          begin() {
            turn.signal.removeEventListener('abort', away)
            settle(leave())
          },
        }
        const away = (): void => {
          const at = line.indexOf(one)
          if (at === -1) return
          line.splice(at, 1)
          waiting -= 1
          fail(turn.signal.reason)
          if (waiting > 0) tell(tenants)
        }
        line.push(one)
        waiting += 1
        turn.signal.addEventListener('abort', away, { once: true })
        tell(tenants)
      })
    },
  }
}

/** Takes the next one out; its caller and tenant go to the end of their turns. */
function take(tenants: Map<string, Map<string, Waiting[]>>): Waiting | undefined {
  for (const [tenant, callers] of tenants) {
    tenants.delete(tenant)
    for (const [caller, line] of callers) {
      callers.delete(caller)
      const first = line.shift()
      if (line.length > 0) callers.set(caller, line)
      if (!first) continue
      if (callers.size > 0) tenants.set(tenant, callers)
      return first
    }
  }
  return undefined
}

/** Tells each its place, by going through the turns as they will be. */
function tell(tenants: ReadonlyMap<string, ReadonlyMap<string, readonly Waiting[]>>): void {
  const copy = new Map(
    [...tenants].map(([tenant, callers]) => [
      tenant,
      new Map([...callers].map(([caller, line]) => [caller, [...line]])),
    ]),
  )
  for (let position = 1, one = take(copy); one; position += 1, one = take(copy)) one.onWait?.(position)
}
