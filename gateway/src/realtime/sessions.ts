/** The sessions that are open, so that a client that was away finds its own again. */
import { queuesAs, type Member } from '#identity/caller.ts'
import type { Session } from './session.ts'

export interface Sessions {
  add(session: Session, caller: Member): void
  /** Undefined where there is none of that id, or it is somebody else's. */
  find(id: string, caller: Member): Session | undefined
  remove(id: string): void
  /** Ends all of them. */
  end(): void
}

export function createSessions(): Sessions {
  const open = new Map<string, { readonly session: Session; readonly owner: string }>()
  return {
    add(session, caller) {
      open.set(session.id, { session, owner: ownerOf(caller) })
    },
    find(id, caller) {
      const found = open.get(id)
      return found?.owner === ownerOf(caller) ? found.session : undefined
    },
    remove: (id) => void open.delete(id),
    end() {
      for (const { session } of open.values()) session.end()
    },
  }
}

/** The same device or key: a person's other device begins a session of its own. */
function ownerOf(caller: Member): string {
  return `${caller.kind} ${queuesAs(caller)}`
}
