/** Watches the machine's clock for jumps: what goes by it, as certificates and links do, may be wrong then. */
import { uptime } from 'node:os'
import ms from 'ms'
import type { Troubles } from './troubles.ts'

export interface ClockWatch {
  readonly troubles: Pick<Troubles, 'passed'>
  /** For people, one line. */
  notice(text: string): void
}

const lookEveryMs = 1_000
/** A clock that is kept is moved by less, and a busy machine looks this late at worst. */
const jumpMs = 30_000

/** Returns what ends it. */
export function watchClock({ troubles, notice }: ClockWatch): () => void {
  // The time since the machine started goes on while it sleeps, and nobody sets it.
  const difference = (): number => Date.now() - uptime() * 1_000
  let before = difference()
  const timer = setInterval(() => {
    // Both are read one after the other, and the uptime to a hundredth.
    const by = Math.round((difference() - before) / 1_000) * 1_000
    if (Math.abs(by) < jumpMs) return
    before += by
    const message = `The clock was set ${by > 0 ? 'forward' : 'back'} by ${ms(Math.abs(by), { long: true })}.`
    troubles.passed('clock', {
      message,
      remedy: 'Let the network keep it: sudo timedatectl set-ntp true',
    })
    notice(message)
  }, lookEveryMs).unref()
  return () => clearInterval(timer)
}
