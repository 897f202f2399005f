/** One's own conversations over HTTP: list, search, read, export, rename, delete, restore. */
import { create as attachment } from 'content-disposition'
import { z } from 'zod'
import { requireService } from '#admission/admission.ts'
import type { Conversations } from '#conversations/conversations.ts'
import { toMarkdown } from '#conversations/markdown.ts'
import { ownerOf } from '#identity/caller.ts'
import type { ConversationList, ConversationsFound, WholeConversation } from '#protocol/conversations.ts'
import { Failure } from '../failure.ts'
import { readJson } from './body.ts'
import { ownDialect } from './envelope.ts'
import type { Call, Route } from './route.ts'

const title = z.string().trim().min(1, 'is empty').max(200, 'is longer than 200 characters')
const renaming = z.object({ title })
const limit = z.coerce.number().int().min(1).max(100)
const formats = ['markdown', 'json'] as const
type Format = (typeof formats)[number]

/** What people said is nobody else's to keep, a cache's neither. */
const headers = { 'cache-control': 'no-store' }
const longestName = 60

export function conversationRoutes(conversations: Conversations): Route[] {
  /** Whose it is that is asked for, in a call that may ask for it. */
  const asked = ({ c, caller }: Call): { readonly owner: string; readonly id: string } => {
    // They are what the voice session says; a key that may not use it has no part in them.
    requireService(caller, 'realtime')
    return { owner: ownerOf(caller), id: c.req.param('id') ?? '' }
  }
  const list = async (call: Call): Promise<Response> => {
    const { c } = call
    const { owner } = asked(call)
    const count = limitOf(c.req.query('limit'))
    const words = c.req.query('search')
    if (words !== undefined) {
      const found = await conversations.search(owner, words, count)
      return c.json({ conversations: found } satisfies ConversationsFound, 200, headers)
    }
    const before = c.req.query('before')
    const page: ConversationList = await conversations.list(owner, {
      ...(before !== undefined && { before }),
      ...(count !== undefined && { limit: count }),
    })
    return c.json(page, 200, headers)
  }
  const read = async (call: Call): Promise<Response> => {
    const { owner, id } = asked(call)
    return call.c.json(await conversations.read(owner, id), 200, headers)
  }
  const download = async (call: Call): Promise<Response> => {
    const { owner, id } = asked(call)
    const format = formatOf(call.c.req.query('format'))
    const whole = await conversations.read(owner, id)
    return call.c.body(format === 'markdown' ? toMarkdown(whole) : JSON.stringify(whole, undefined, 2), 200, {
      ...headers,
      'content-type': format === 'markdown' ? 'text/markdown; charset=utf-8' : 'application/json',
      'content-disposition': attachment(fileName(whole, format)),
      'x-content-type-options': 'nosniff',
    })
  }
  const rename = async (call: Call): Promise<Response> => {
    const { owner, id } = asked(call)
    const wish = renaming.safeParse(await readJson(call.incoming))
    if (!wish.success)
      throw new Failure('invalid', `title: ${wish.error.issues[0]?.message}. Send {"title": …}.`)
    return call.c.json(await conversations.rename(owner, id, wish.data.title), 200, headers)
  }
  const remove = async (call: Call): Promise<Response> => {
    const { owner, id } = asked(call)
    await conversations.delete(owner, id)
    return call.c.body(null, 204)
  }
  const restore = async (call: Call): Promise<Response> => {
    const { owner, id } = asked(call)
    return call.c.json(await conversations.restore(owner, id), 200, headers)
  }

  const route = { group: 'member', dialect: ownDialect } as const
  const place = '/sotto/conversations'
  return [
    {
      ...route,
      method: 'GET',
      path: place,
      summary: 'One’s conversations, the newest first: ?before=NEXT&limit=N, or ?search=WORDS',
      quiet: true,
      handle: list,
    },
    {
      ...route,
      method: 'GET',
      path: `${place}/:id`,
      summary: 'One whole conversation',
      quiet: true,
      handle: read,
    },
    {
      ...route,
      method: 'GET',
      path: `${place}/:id/export`,
      summary: 'One whole conversation as a file: ?format=markdown or json',
      handle: download,
    },
    {
      ...route,
      method: 'PATCH',
      path: `${place}/:id`,
      summary: 'Name a conversation',
      body: renaming,
      handle: rename,
    },
    {
      ...route,
      method: 'DELETE',
      path: `${place}/:id`,
      summary: 'Delete a conversation; within 30 days it can be restored',
      handle: remove,
    },
    {
      ...route,
      method: 'POST',
      path: `${place}/:id/restore`,
      summary: 'Take a deletion back',
      handle: restore,
    },
  ]
}

function limitOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const read = limit.safeParse(text)
  if (!read.success) throw new Failure('invalid', 'limit: send a number from 1 to 100.')
  return read.data
}

function formatOf(text = 'markdown'): Format {
  const format = formats.find((one) => one === text)
  if (!format) throw new Failure('invalid', `format: send ${formats.join(' or ')}.`)
  return format
}

/** `Lighthouses of Brittany 2026-11-21.md`: nothing in it that a file system refuses or hides. */
function fileName({ title: name, createdAt }: WholeConversation, format: Format): string {
  const words = name
    .replaceAll(/[\p{C}\p{Z}\\/:*?"<>|…]+/gu, ' ')
    .replaceAll(/^[. ]+/g, '')
    .slice(0, longestName)
    .toWellFormed()
    .trim()
  return `${words || 'Conversation'} ${createdAt.slice(0, 10)}.${format === 'markdown' ? 'md' : 'json'}`
}
