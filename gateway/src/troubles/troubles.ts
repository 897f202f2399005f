/** What the admin should know: what is wrong with the machine now, and what was, and is over by itself. */
import type { Problem } from '@sotto/provisioning/problem.ts'
import type { Trouble } from '#protocol/admin.ts'

export type TroubleKind = Trouble['kind']
type Told = Pick<Problem, 'message' | 'remedy'>

export interface Troubles {
  /** Since when each is, the newest first. */
  list(): Trouble[]
  /** Something is wrong from now on. False where it was already. */
  begin(kind: TroubleKind, told: Told): boolean
  /** It is not any more. False where it was not. */
  end(kind: TroubleKind): boolean
  /** Something was wrong and is over; it is told of for an hour. */
  passed(kind: TroubleKind, told: Told): void
}

const toldMs = 3_600_000

export function createTroubles(): Troubles {
  const known = new Map<TroubleKind, { readonly trouble: Trouble; readonly forgetAt: number }>()
  const put = (kind: TroubleKind, { message, remedy }: Told, over: boolean): void => {
    const since = new Date().toISOString()
    known.delete(kind)
    known.set(kind, {
      trouble: { kind, since, over, message, remedy },
      // By a clock that nobody sets: it may be the other one that is wrong.
      forgetAt: over ? performance.now() + toldMs : Infinity,
    })
  }
  const lasts = (kind: TroubleKind): boolean => known.get(kind)?.trouble.over === false
  return {
    list() {
      for (const [kind, { forgetAt }] of known) if (forgetAt <= performance.now()) known.delete(kind)
      return [...known.values()].map(({ trouble }) => trouble).toReversed()
    },
    begin(kind, told) {
      if (lasts(kind)) return false
      put(kind, told, false)
      return true
    },
    end: (kind) => lasts(kind) && known.delete(kind),
    passed: (kind, told) => put(kind, told, true),
  }
}
