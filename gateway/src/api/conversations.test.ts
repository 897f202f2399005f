import { afterEach, describe, expect, it } from 'vitest'
import { answered, openScratch, said } from '#conversations/open.fixture.ts'
import type {
  ConversationList,
  ConversationsFound,
  ItemPage,
  WholeConversation,
} from '#protocol/conversations.ts'
import { conversationRoutes } from './conversations.ts'
import { serveApi } from './serve.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** The host and ada’s program at the same gateway; each with a conversation. */
async function open() {
  const { conversations } = await openScratch()
  const api = await serveApi({
    more: conversationRoutes(conversations),
    keys: { script: {}, small: { services: ['chat'] } },
    origins: ['https://chat.home'],
  })
  closers.push(api.close)
  const begin = async (owner: string, ...items: Parameters<typeof said>[0][]) => {
    const thread = await conversations.open(owner)
    items.forEach((text, at) => thread.put(at % 2 === 0 ? said(text) : answered(text)))
    await thread.flush()
    return thread
  }
  const ask = (path: string, init: Init = {}, key?: string) =>
    fetch(`${api.url}/sotto/conversations${path}`, {
      ...init,
      headers: { ...init.headers, ...(key !== undefined && { 'x-api-key': api.secrets[key] ?? '' }) },
    })
  return { ask, begin, conversations, rows: api.rows, url: api.url }
}

interface Init {
  readonly method?: string
  readonly body?: string
  readonly headers?: Record<string, string>
}

const json = async <T>(answer: Response | Promise<Response>) => (await (await answer).json()) as T
const patch = (title: unknown): Init => ({ method: 'PATCH', body: JSON.stringify({ title }) })

describe('conversations over HTTP', () => {
  it('are listed page by page, searched and read, by their owner alone', async () => {
    const { ask, begin, rows } = await open()
    const { id: hers } = await begin('ada', 'Where is the café?', 'At the *harbour*.')
    const his = await begin('host', 'one')
    await begin('host', 'two')
    const first = await json<ConversationList>(ask('?limit=1'))
    const second = await json<ConversationList>(ask(`?limit=1&before=${first.next}`))
    expect([...first.conversations, ...second.conversations].map(({ title }) => title).toSorted()).toEqual([
      'one',
      'two',
    ])
    expect(second.next).toBeNull()
    expect(await json<ConversationsFound>(ask('?search=cafe%20har', {}, 'script'))).toMatchObject({
      conversations: [{ id: hers, snippet: expect.arrayContaining([{ text: 'harbour', marked: true }]) }],
    })
    expect((await json<ConversationsFound>(ask('?search=cafe'))).conversations).toEqual([])
    const whole = await ask(`/${hers}`, {}, 'script')
    expect(whole.headers.get('cache-control')).toBe('no-store')
    expect(await json<WholeConversation>(whole)).toMatchObject({
      id: hers,
      title: 'Where is the café?',
      items: [{ role: 'user' }, { role: 'assistant' }],
    })
    for (const [path, init] of [
      [`/${hers}`, {}],
      [`/${hers}/export`, {}],
      [`/${hers}`, patch('mine')],
      [`/${hers}`, { method: 'DELETE' }],
      [`/${hers}/restore`, { method: 'POST' }],
      [`/${hers}/branches`, {}],
      [`/${hers}/branches`, { method: 'POST', body: '{"before": "item_1"}' }],
      [`/${hers}/items?before=item_1`, {}],
      [`/${hers}/items/item_1/content/0`, {}],
      ['/conv_unknown', {}],
    ] as const) {
      const answer = await ask(path, init)
      expect([answer.status, await answer.json()], path).toEqual([
        404,
        {
          error: { code: 'not_found', message: expect.stringContaining('no such conversation'), remedy: '' },
        },
      ])
    }
    expect((await ask(`/${his.id}`)).status).toBe(200)
    expect(JSON.stringify(await rows('audit'))).not.toMatch(/cafe|har/)
  })

  it('are renamed, pinned, deleted and restored', async () => {
    const { ask, begin } = await open()
    const { id } = await begin('host', 'hello')
    expect(await json(ask(`/${id}`, patch('  A better name ')))).toMatchObject({ id, title: 'A better name' })
    expect(await json(ask(`/${id}`, { method: 'PATCH', body: '{"pinned": true}' }))).toMatchObject({
      title: 'A better name',
      pinned: true,
    })
    expect((await ask(`/${id}`, { method: 'DELETE' })).status).toBe(204)
    expect((await ask(`/${id}`)).status).toBe(404)
    expect(await json(ask(`/${id}/restore`, { method: 'POST' }))).toMatchObject({ title: 'A better name' })
    expect((await ask(`/${id}`)).status).toBe(200)
  })

  it('branch, and say where', async () => {
    const { ask, begin } = await open()
    const { id, items } = await begin('host', 'hello', 'Hi.', 'more')
    const [, answer, more] = items
    const made = await ask(`/${id}/branches`, {
      method: 'POST',
      body: JSON.stringify({ before: answer?.id }),
    })
    const branch = await json<WholeConversation>(made)
    expect([made.status, branch]).toMatchObject([201, { family: id, title: 'hello' }])
    expect((await json<WholeConversation>(ask(`/${branch.id}`))).items).toEqual(items.slice(0, 1))
    // Nothing is said in the other yet.
    expect(await json(ask(`/${id}/branches`))).toEqual({ points: [] })
    expect(await json<ItemPage>(ask(`/${id}/items?before=${more?.id}&limit=1`))).toEqual({
      items: [answer],
      earlier: true,
    })
  })

  it('give their pictures one by one, as pictures and nothing else', async () => {
    const { ask, begin } = await open()
    const thread = await begin('host', 'Look!')
    const image = (url: string) => ({ type: 'input_image' as const, image_url: url })
    const item = said('', {
      content: [
        { type: 'input_text', text: 'two' },
        image('data:image/png;base64,aGk='),
        image('data:image/svg+xml;base64,PHN2Zz4='),
      ],
    })
    thread.put(item)
    const last = said('last')
    thread.put(last)
    const page = await json<ItemPage>(ask(`/${thread.id}/items?before=${last.id}`))
    expect(page.items.at(-1)).toMatchObject({ content: [{}, { type: 'input_image' }, {}] })
    expect(JSON.stringify(page)).not.toContain('base64')
    const content = (index: number | string) => ask(`/${thread.id}/items/${item.id}/content/${index}`)
    const shown = await content(1)
    expect(await shown.text()).toBe('hi')
    expect(Object.fromEntries(shown.headers)).toMatchObject({
      'content-type': 'image/png',
      'content-disposition': 'inline',
      'content-security-policy': "default-src 'none'; sandbox",
      'x-content-type-options': 'nosniff',
      'cache-control': 'private, no-store',
    })
    // It may hold scripts.
    const kept = await content(2)
    expect(await kept.text()).toBe('<svg>')
    expect(Object.fromEntries(kept.headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': expect.stringMatching(/^attachment/),
      'x-content-type-options': 'nosniff',
    })
    for (const index of [0, 3, -1, 'x']) expect((await content(index)).status).toBe(404)
  })

  it('say what is wrong with a request', async () => {
    const { ask, begin } = await open()
    const { id } = await begin('host', 'hello')
    for (const [path, init, field] of [
      ['?limit=0', {}, 'limit'],
      ['?limit=many', {}, 'limit'],
      ['?before=x', {}, 'before'],
      [`/${id}/export?format=pdf`, {}, 'format'],
      [`/${id}/items?before=x&limit=0`, {}, 'limit'],
      [`/${id}/branches`, { method: 'POST', body: '{}' }, 'before'],
      [`/${id}`, patch('  '), 'title'],
      [`/${id}`, patch('x'.repeat(201)), 'title'],
      [`/${id}`, patch(7), 'title'],
      [`/${id}`, { method: 'PATCH', body: '{"pinned": 1}' }, 'pinned'],
      [`/${id}`, { method: 'PATCH', body: '{}' }, 'neither'],
      [`/${id}`, { method: 'PATCH', body: '{' }, 'JSON'],
    ] as const) {
      const answer = await ask(path, init)
      expect([answer.status, await answer.json()], path).toEqual([
        400,
        { error: { code: 'invalid', message: expect.stringContaining(field), remedy: '' } },
      ])
    }
  })

  it('are closed to a page elsewhere that the admin does not let in, whatever the method', async () => {
    const { ask, begin } = await open()
    const { id } = await begin('host', 'hello')
    for (const init of [{}, patch('theirs'), { method: 'DELETE' }]) {
      expect((await ask(`/${id}`, { ...init, headers: { origin: 'https://evil.example' } })).status).toBe(403)
      const allowed = await ask(`/${id}`, { ...init, headers: { origin: 'https://chat.home' } })
      expect([allowed.ok, allowed.headers.get('access-control-allow-origin')]).toEqual([
        true,
        'https://chat.home',
      ])
    }
  })

  it('are closed to a key that is held to other services', async () => {
    const { ask } = await open()
    const answer = await ask('', {}, 'small')
    expect([answer.status, await answer.json()]).toEqual([
      403,
      { error: { code: 'forbidden', message: expect.stringContaining('may not use realtime'), remedy: '' } },
    ])
  })

  it('are in the document of the API', async () => {
    const { url } = await open()
    const { paths } = await json<{ paths: Record<string, object> }>(fetch(`${url}/openapi.json`))
    expect(Object.keys(paths['/sotto/conversations/{id}'] ?? {}).toSorted()).toEqual([
      'delete',
      'get',
      'patch',
    ])
  })
})

describe('an export', () => {
  it('in Markdown reads as it was said, with what later types bring', async () => {
    const { ask, begin, conversations } = await open()
    const thread = await begin('host', 'Où est le café/bar?', 'Use `ls`:\n\n```sh\nls\n```')
    thread.configure({ model: 'tiny', instructions: 'Be brief.\nBe kind.' })
    thread.put({
      id: 'item_picture',
      type: 'message',
      role: 'user',
      status: 'completed',
      content: [
        { type: 'input_text', text: 'And this?' },
        { type: 'input_image', image_url: 'data:image/png;base64,AAAA' },
        { type: 'input_image', image_url: 'https://elsewhere.example/track.png' },
      ],
    } as never)
    thread.put({ id: 'item_call', type: 'function_call', name: 'look', arguments: '{"at":"```"}' } as never)
    thread.put(said('', { content: [{ type: 'input_audio', transcript: null }] }))
    const answer = await ask(`/${thread.id}/export`)
    expect(answer.headers.get('content-type')).toBe('text/markdown; charset=utf-8')
    const day = (await conversations.read('host', thread.id)).createdAt.slice(0, 10)
    expect(answer.headers.get('content-disposition')).toBe(
      `attachment; filename="O? est le caf? bar ${day}.md"; filename*=UTF-8''O%C3%B9%20est%20le%20caf%C3%A9%20bar%20${day}.md`,
    )
    expect(await answer.text()).toBe(
      [
        '# Où est le café/bar?',
        `*${day}, tiny*`,
        '> Be brief.\n> Be kind.',
        '## You',
        'Où est le café/bar?',
        '## Assistant',
        'Use `ls`:\n\n```sh\nls\n```',
        '## You',
        'And this?',
        '![](data:image/png;base64,AAAA)',
        '````json\n{\n  "id": "item_call",\n  "type": "function_call",\n  "name": "look",\n  "arguments": "{\\"at\\":\\"```\\"}"\n}\n````\n',
      ].join('\n\n'),
    )
  })

  it('in JSON is the whole of it', async () => {
    const { ask, begin } = await open()
    const { id } = await begin('host', '../..', 'No.')
    const answer = await ask(`/${id}/export?format=json`)
    expect(answer.headers.get('content-disposition')).toMatch(
      /^attachment; filename="Conversation \d{4}-\d\d-\d\d\.json"$/,
    )
    expect(await answer.json()).toEqual(await json(ask(`/${id}`)))
  })
})
