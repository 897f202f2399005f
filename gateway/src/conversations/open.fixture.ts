/** Conversations in a directory of their own, closed and removed after each test. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import type { MessageItem } from '#protocol/events.ts'
import { openConversations, type Conversations } from './conversations.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

export interface Opened {
  readonly conversations: Conversations
  readonly folder: string
  readonly file: string
  /** What the log was told. */
  readonly errors: unknown[]
}

/** @param folder where others were before; left out, a new one */
export async function openScratch(folder?: string): Promise<Opened> {
  const at = folder ?? (await mkdtemp(join(tmpdir(), 'sotto-conversations-')))
  if (folder === undefined) closers.push(() => rm(at, { recursive: true }))
  const file = join(at, 'conversations.db')
  const errors: unknown[] = []
  const conversations = await openConversations({
    file,
    log: { error: (what: unknown) => errors.push(what) },
  })
  let closing: Promise<void> | undefined
  const close = () => (closing ??= conversations.close())
  closers.push(close)
  return { conversations: { ...conversations, close }, folder: at, file, errors }
}

let count = 0

/** What somebody wrote. */
export function said(text: string, rest: Partial<MessageItem> = {}): MessageItem {
  count += 1
  return {
    id: `item_${count}`,
    object: 'realtime.item',
    type: 'message',
    role: 'user',
    status: 'completed',
    content: [{ type: 'input_text', text }],
    ...rest,
  }
}

/** What a model answered. */
export function answered(text: string, rest: Partial<MessageItem> = {}): MessageItem {
  return said(text, { role: 'assistant', content: [{ type: 'output_text', text }], ...rest })
}
