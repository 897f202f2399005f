/** The sessions that are open, so that a client that was away finds its own again. */
import { queuesAs, type Member } from '#identity/caller.ts'
import type { Session } from './session.ts'

export interface Sessions {
  readonly size: number
  add(session: Session, caller: Member): void
  /** Undefined where there is none of that id, or it is somebody else's. */
  find(id: string, caller: Member): Session | undefined
  /** Counts what a client put into its session. False where all sessions of its device or key hold too much. */
  hold(id: string, bytes: number): boolean
  /** With what it holds. */
  remove(id: string): void
  /** Ends all of them. */
  end(): void
}

/** Some hundred photographs, and as many again: who opens a thousand sessions must not fill each of them. */
const mostHeldBytes = 128 * 1024 * 1024

export function createSessions(): Sessions {
  const open = new Map<string, { readonly session: Session; readonly owner: string; bytes: number }>()
  const held = new Map<string, number>()
  return {
    get size() {
      return open.size
    },
    add(session, caller) {
      open.set(session.id, { session, owner: ownerOf(caller), bytes: 0 })
    },
    find(id, caller) {
      const found = open.get(id)
      return found?.owner === ownerOf(caller) ? found.session : undefined
    },
    hold(id, bytes) {
      const one = open.get(id)
      if (!one) return false
      const all = (held.get(one.owner) ?? 0) + bytes
      if (all > mostHeldBytes) return false
      held.set(one.owner, all)
      one.bytes += bytes
      return true
    },
    remove(id) {
      const one = open.get(id)
      if (!one) return
      open.delete(id)
      const left = (held.get(one.owner) ?? 0) - one.bytes
      if (left > 0) held.set(one.owner, left)
      else held.delete(one.owner)
    },
    end() {
      for (const { session } of open.values()) session.end()
    },
  }
}

/** The same device or key: a person's other device begins a session of its own. */
function ownerOf(caller: Member): string {
  return `${caller.kind} ${queuesAs(caller)}`
}
