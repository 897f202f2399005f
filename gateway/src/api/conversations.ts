/** One's own conversations over HTTP: list, search, read, export, branch, name, pin, delete, restore. */
import { create as attachment } from 'content-disposition'
import { z } from 'zod'
import { requireService } from '#admission/admission.ts'
import type { Conversations } from '#conversations/conversations.ts'
import { toMarkdown } from '#conversations/markdown.ts'
import { pictureOf, withoutPictures } from '#conversations/pictures.ts'
import { ownerOf } from '#identity/caller.ts'
import type {
  BranchList,
  ConversationList,
  ConversationsFound,
  ItemPage,
  WholeConversation,
} from '#protocol/conversations.ts'
import { Failure } from '../failure.ts'
import { readJson } from './body.ts'
import { ownDialect } from './envelope.ts'
import type { Call, Route } from './route.ts'

const title = z.string().trim().min(1, 'is empty').max(200, 'is longer than 200 characters')
const naming = z
  .object({ title: title.exactOptional(), pinned: z.boolean().exactOptional() })
  .refine((wish) => Object.keys(wish).length > 0, 'neither title nor pinned is there')
const branching = z.object({ before: z.string().min(1).max(64) })
const limit = z.coerce.number().int().min(1).max(100)
const formats = ['markdown', 'json'] as const
type Format = (typeof formats)[number]

/** What people said is nobody else's to keep, a cache's neither. */
const headers = { 'cache-control': 'no-store' }
const longestName = 60
/** Shown in a page of ours; anything else is a file to keep, whatever it calls itself. */
const picturesShown = new Set('png jpeg webp gif avif'.split(' ').map((kind) => `image/${kind}`))

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
  const name = async (call: Call): Promise<Response> => {
    const { owner, id } = asked(call)
    const wish = naming.safeParse(await readJson(call.incoming))
    if (!wish.success) {
      const [issue] = wish.error.issues
      throw new Failure(
        'invalid',
        `${issue?.path.join('.') || 'The body'}: ${issue?.message}. Send {"title": …, "pinned": …}, or one of them.`,
      )
    }
    return call.c.json(await conversations.name(owner, id, wish.data), 200, headers)
  }
  const itemsBefore = async (call: Call): Promise<Response> => {
    const { owner, id } = asked(call)
    const before = call.c.req.query('before')
    const count = limitOf(call.c.req.query('limit'))
    const { items, earlier } = await conversations.itemsBefore(owner, id, before, count)
    const page: ItemPage = { items: items.map(withoutPictures), earlier }
    return call.c.json(page, 200, headers)
  }
  const picture = async (call: Call): Promise<Response> => {
    const { owner, id } = asked(call)
    const { item = '', index } = call.c.req.param()
    const found = pictureOf(await conversations.item(owner, id, item), Number(index))
    if (!found) throw new Failure('not_found', 'There is no picture at this place.')
    const isShown = picturesShown.has(found.type)
    return call.c.body(new Uint8Array(found.bytes), 200, {
      'content-type': isShown ? found.type : 'application/octet-stream',
      'content-disposition': isShown ? 'inline' : attachment('picture'),
      'content-security-policy': "default-src 'none'; sandbox",
      'x-content-type-options': 'nosniff',
      'cache-control': 'private, no-store',
    })
  }
  const branch = async (call: Call): Promise<Response> => {
    const { owner, id } = asked(call)
    const wish = branching.safeParse(await readJson(call.incoming))
    if (!wish.success)
      throw new Failure('invalid', 'before: send {"before": …}, the id of the first item to leave out.')
    return call.c.json(await conversations.branch(owner, id, wish.data.before), 201, headers)
  }
  const branches = async (call: Call): Promise<Response> => {
    const { owner, id } = asked(call)
    const found: BranchList = await conversations.branches(owner, id)
    return call.c.json(found, 200, headers)
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
      summary:
        'One’s conversations, the pinned and then the newest first: ?before=NEXT&limit=N, or ?search=WORDS',
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
      method: 'GET',
      path: `${place}/:id/items`,
      summary:
        'Items of a conversation, the last or those right before one: ?before=ITEM&limit=N. Pictures are left out',
      quiet: true,
      handle: itemsBefore,
    },
    {
      ...route,
      method: 'GET',
      path: `${place}/:id/items/:item/content/:index`,
      summary: 'A picture of an item, by its place in the content',
      quiet: true,
      handle: picture,
    },
    {
      ...route,
      method: 'POST',
      path: `${place}/:id/branches`,
      summary: 'Another conversation with the same items as far as one',
      body: branching,
      handle: branch,
    },
    {
      ...route,
      method: 'GET',
      path: `${place}/:id/branches`,
      summary: 'Where the branches of a conversation part',
      quiet: true,
      handle: branches,
    },
    {
      ...route,
      method: 'PATCH',
      path: `${place}/:id`,
      summary: 'Name a conversation, or pin it',
      body: naming,
      handle: name,
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
