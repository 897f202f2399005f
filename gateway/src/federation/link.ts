/** Our place on one relay, our own or a friend's: who else is there, and a way to send to them. */
import type { Clock } from './clock.ts'
import type { Instance } from './frames.ts'

export interface Link {
  /** `own`, or the friend's mesh. */
  readonly via: string
  /** Under which we are known there. */
  readonly meshId: string
  /** Who is there now, ourselves too; nobody while we are not connected. */
  readonly instances: readonly Instance[]
  /** One that is there now. */
  find(meshId: string): Instance | undefined
  /** Milliseconds until the relay takes another message of ours: 0 for now, Infinity while we are not connected. */
  freeIn(): number
  /** @param payload JSON; it may be lost on the way, and is where `freeIn` is not 0 */
  relay(target: string, payload: string): void
  announce(rooms: readonly string[]): void
  close(): void
}

export interface LinkEvents {
  /** Who is there is not as it was. */
  changed(link: Link): void
  /** A mesh has a new connection, or all of them where our own is new: what was on its way may be lost. */
  renewed(link: Link, meshId?: string): void
  incoming(link: Link, fromMeshId: string, payload: unknown): void
}

export interface Budget {
  take(): void
  freeIn(): number
}

const minuteMs = 60_000
/** What leaves here evenly may arrive closer together. */
const margin = 0.9

/** So many messages in any minute, the first ones at once. */
export function createBudget(perMinute: number, clock: Clock): Budget {
  const most = Math.floor(perMinute * margin)
  const sent: number[] = []
  return {
    take() {
      sent.push(clock.elapsed())
      if (sent.length > most) sent.shift()
    },
    freeIn() {
      const [oldest] = sent
      if (oldest === undefined || sent.length < most) return 0
      return Math.max(0, oldest + minuteMs - clock.elapsed())
    },
  }
}
