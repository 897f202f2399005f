/** What happens to a person's conversations, for whoever shows a list of them. */
import type { ConversationSummary } from '#protocol/conversations.ts'
import { summaryOf, type Row } from './stored.ts'

/** One was begun, changed or restored; or it was deleted. */
export type News = { readonly changed: ConversationSummary } | { readonly removed: string }

export interface Newsroom {
  /** Returns what ends it. */
  subscribe(owner: string, listener: (news: News) => void): () => void
  changed(row: Row): void
  /** Something was said: told once a second at most. */
  said(row: Row): void
  removed(owner: string, id: string): void
  close(): void
}

const restMs = 1_000

export function createNewsroom(): Newsroom {
  const listeners = new Map<string, Set<(news: News) => void>>()
  /** Those of which something was told a moment ago, and what came since. */
  const resting = new Map<string, { readonly timer: NodeJS.Timeout; latest?: Row }>()
  const tell = (owner: string, news: News): void => {
    for (const listener of listeners.get(owner) ?? []) listener(news)
  }
  const wake = (id: string): void => {
    const rest = resting.get(id)
    clearTimeout(rest?.timer)
    resting.delete(id)
    if (rest?.latest) said(rest.latest)
  }
  const said = (row: Row): void => {
    const rest = resting.get(row.id)
    if (rest) {
      rest.latest = row
      return
    }
    if (!listeners.has(row.owner)) return
    tell(row.owner, { changed: summaryOf(row) })
    resting.set(row.id, { timer: setTimeout(wake, restMs, row.id).unref() })
  }
  const forget = (id: string): void => {
    const rest = resting.get(id)
    if (rest) delete rest.latest
  }
  return {
    subscribe(owner, listener) {
      const own = listeners.get(owner) ?? new Set()
      listeners.set(owner, own.add(listener))
      return () => {
        own.delete(listener)
        if (own.size === 0) listeners.delete(owner)
      }
    },
    changed(row) {
      forget(row.id)
      tell(row.owner, { changed: summaryOf(row) })
    },
    said,
    removed(owner, id) {
      forget(id)
      tell(owner, { removed: id })
    },
    close() {
      for (const { timer } of resting.values()) clearTimeout(timer)
      resting.clear()
    },
  }
}
