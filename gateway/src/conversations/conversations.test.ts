import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Item } from '#protocol/events.ts'
import type { Conversations } from './conversations.ts'
import { openConversationDatabase } from './database.ts'
import type { Change } from './live.ts'
import type { News } from './news.ts'
import { answered, openScratch, said } from './open.fixture.ts'

afterEach(() => vi.useRealTimers())

/** Written, and closed again. */
async function talk(conversations: Conversations, owner: string, ...items: Item[]): Promise<string> {
  const thread = await conversations.open(owner)
  for (const item of items) thread.put(item)
  await thread.flush()
  thread.leave()
  return thread.id
}

const texts = (items: readonly Item[]) =>
  items.map((item) =>
    (item.type === 'message' ? item.content : []).map((part) => ('text' in part ? part.text : '')).join(),
  )

describe('a conversation', () => {
  it('begun on one device is continued on another, live on both', async () => {
    const { conversations } = await openScratch()
    const phone = await conversations.open('ada')
    const laptop = await conversations.open('ada', phone.id)
    const [onPhone, onLaptop]: Change[][] = [[], []]
    phone.onChange((change) => onPhone?.push(change))
    const end = laptop.onChange((change) => onLaptop?.push(change))
    const spoken = said('', {
      status: 'in_progress',
      content: [{ type: 'input_audio', transcript: null }],
    })
    phone.put(spoken)
    phone.put({
      ...spoken,
      status: 'completed',
      content: [{ type: 'input_audio', transcript: 'what is near' }],
    })
    laptop.put(answered('The sea.'))
    laptop.configure({ model: 'large' })
    phone.remove(spoken.id)
    expect(onLaptop?.map(({ kind }) => kind)).toEqual(['put', 'put', 'renamed', 'remove'])
    expect(onPhone).toMatchObject([
      { kind: 'renamed', title: 'what is near' },
      { kind: 'put', item: { content: [{ text: 'The sea.' }] }, previousItemId: spoken.id },
      { kind: 'configured', model: 'large', instructions: '' },
    ])
    expect(phone.items).toEqual(laptop.items)
    end()
    phone.put(said('more'))
    expect(onLaptop).toHaveLength(4)
  })

  it('is not there for others before its first item, and then by that item’s words', async () => {
    const { conversations } = await openScratch()
    const thread = await conversations.open('ada')
    thread.configure({ model: 'tiny', instructions: 'Be brief.' })
    await thread.flush()
    expect((await conversations.list('ada')).conversations).toEqual([])
    const words = 'Tell me about the lighthouses on the northern coast of Brittany, please'
    thread.put(said(words))
    thread.put(answered('There are many.'))
    await thread.flush()
    const [listed] = (await conversations.list('ada')).conversations
    expect(listed).toMatchObject({
      id: thread.id,
      title: 'Tell me about the lighthouses on the northern coast of…',
      model: 'tiny',
    })
    expect(await conversations.read('ada', thread.id)).toMatchObject({ instructions: 'Be brief.' })
  })

  it('keeps the order of its items, wherever they are put, over a restart', async () => {
    const first = await openScratch()
    const thread = await first.conversations.open('ada')
    const [a, b, c] = [said('a'), said('b'), said('c')]
    thread.put(b)
    thread.put(a, null)
    thread.put(c)
    // More than the room between two doubles.
    const between = Array.from({ length: 80 }, (_, at) => said(`between ${at}`))
    for (const item of between) thread.put(item, a.id)
    thread.remove(c.id)
    expect(() => thread.put(said('x'), 'item_unknown')).toThrow('previous_item_id')
    const expected = ['a', ...texts(between).toReversed(), 'b']
    expect(texts(thread.items)).toEqual(expected)
    await first.conversations.close()
    const { conversations } = await openScratch(first.folder)
    const again = await conversations.open('ada', thread.id)
    expect(texts(again.items)).toEqual(expected)
    again.put(said('last'))
    expect(texts(again.items).at(-1)).toBe('last')
  })

  it('loses nothing when it is closed; what was in progress is incomplete then', async () => {
    const first = await openScratch()
    const thread = await first.conversations.open('ada')
    for (let at = 0; at < 500; at += 1) thread.put(said(`line ${at}`))
    thread.put(answered('On and', { status: 'in_progress' }))
    await first.conversations.close()
    const { conversations } = await openScratch(first.folder)
    const { items } = await conversations.read('ada', thread.id)
    expect(items).toHaveLength(501)
    expect(items.at(-1)).toMatchObject({ status: 'incomplete', content: [{ text: 'On and' }] })
  })

  it('keeps what its last session puts while it leaves, and settles what that never ended', async () => {
    const { conversations } = await openScratch()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const thread = await conversations.open('ada')
    const [question, answer] = [said('hello'), answered('Hel', { status: 'in_progress' })]
    thread.put(question)
    thread.put(answer)
    thread.leave()
    thread.put({ ...answer, status: 'incomplete' })
    thread.put(said('', { status: 'in_progress', content: [{ type: 'input_audio', transcript: null }] }))
    await vi.advanceTimersByTimeAsync(5_000)
    vi.useRealTimers()
    const statuses = async () =>
      (await conversations.read('ada', thread.id)).items.map(({ status }) => status)
    await expect.poll(statuses).toEqual(['completed', 'incomplete', 'incomplete'])
    expect((await conversations.open('ada', thread.id)).items).toMatchObject([
      question,
      { content: [{ text: 'Hel' }] },
      {},
    ])
  })

  // A full machine may be late once; a writer that waits too long is so each time.
  it('has an item on disk within 250 ms', { retry: 2 }, async () => {
    const { conversations } = await openScratch()
    const thread = await conversations.open('ada')
    thread.put(said('first'))
    // The writer's own start is not what is measured.
    await thread.flush()
    thread.put(said('second'))
    await new Promise((settle) => setTimeout(settle, 250))
    expect(await conversations.search('ada', 'second')).toHaveLength(1)
  })

  it('goes on where it can’t be written, and is written when it can', async () => {
    const { conversations, file, errors } = await openScratch()
    const thread = await conversations.open('ada')
    thread.put(said('first'))
    await thread.flush()
    const other = await openConversationDatabase(file)
    await other.schema.alterTable('items').renameColumn('json', 'hidden').execute()
    thread.put(said('second'))
    await expect(thread.flush()).rejects.toThrow('json')
    expect(errors).toHaveLength(1)
    await other.schema.alterTable('items').renameColumn('hidden', 'json').execute()
    await other.destroy()
    thread.put(said('third'))
    await thread.flush()
    expect(await conversations.search('ada', 'second')).toHaveLength(1)
    expect(await conversations.search('ada', 'third')).toHaveLength(1)
  })
})

describe('the list', () => {
  it('has the newest first, page by page, and only one’s own', async () => {
    const { conversations } = await openScratch()
    vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 })
    const ids: string[] = []
    for (let at = 0; at < 5; at += 1) {
      // Two of them at the same time.
      vi.setSystemTime(1_000_000 + Math.min(at, 3) * 1_000)
      ids.push(await talk(conversations, 'ada', said(`number ${at}`)))
    }
    await talk(conversations, 'bob', said('not hers'))
    vi.setSystemTime(2_000_000)
    const first = await conversations.open('ada', ids[0])
    first.put(said('again'))
    await first.flush()
    const seen: string[] = []
    let before: string | undefined
    do {
      const page = await conversations.list('ada', { limit: 2, ...(before !== undefined && { before }) })
      seen.push(...page.conversations.map(({ id }) => id))
      before = page.next ?? undefined
    } while (before !== undefined)
    expect(seen).toEqual([ids[0], ...[ids[3] ?? '', ids[4] ?? ''].toSorted().toReversed(), ids[2], ids[1]])
    await expect(conversations.list('ada', { before: 'yesterday' })).rejects.toMatchObject({
      code: 'invalid',
    })
  })

  it('has the pinned before the others, over its pages too, open or not', async () => {
    const first = await openScratch()
    vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 })
    const ids: string[] = []
    for (let at = 0; at < 4; at += 1) {
      vi.setSystemTime(1_000_000 + at * 1_000)
      ids.push(await talk(first.conversations, 'ada', said(`number ${at}`)))
    }
    const [a = '', b = '', c = '', d = ''] = ids
    vi.setSystemTime(1_010_000)
    const open = await first.conversations.open('ada', a)
    expect(await first.conversations.name('ada', a, { pinned: true })).toMatchObject({
      title: 'number 0',
      pinned: true,
    })
    open.put(said('goes on'))
    await first.conversations.close()
    const { conversations } = await openScratch(first.folder)
    await conversations.name('ada', b, { pinned: true, title: 'Mine' })
    const page = await conversations.list('ada', { limit: 1 })
    const rest = await conversations.list('ada', { before: page.next ?? '' })
    expect([...page.conversations, ...rest.conversations]).toMatchObject([
      { id: a, pinned: true },
      { id: b, pinned: true, title: 'Mine' },
      { id: d, pinned: false },
      { id: c, pinned: false },
    ])
    await conversations.name('ada', a, { pinned: false })
    expect((await conversations.list('ada')).conversations.map(({ id }) => id)).toEqual([b, a, d, c])
  })
})

describe('a branch', () => {
  const ids = async (list: Promise<{ conversations: readonly { id: string }[] }>) =>
    (await list).conversations.map(({ id }) => id)

  it('has the same items as far as one, and goes on by itself, open or not', async () => {
    const first = await openScratch()
    const [asked, answer, more] = [said('hello'), answered('Hi.'), said('more')]
    const thread = await first.conversations.open('ada')
    for (const item of [asked, answer, more]) thread.put(item)
    thread.configure({ model: 'large', instructions: 'Be brief.' })
    const branch = await first.conversations.branch('ada', thread.id, more.id)
    expect(branch).toMatchObject({ family: thread.id, title: 'hello', model: 'large', pinned: false })
    const other = await first.conversations.open('ada', branch.id)
    expect([other.items, other.instructions]).toEqual([[asked, answer], 'Be brief.'])
    other.put(said('otherwise'))
    thread.put(said('and on'))
    await first.conversations.close()
    const { conversations } = await openScratch(first.folder)
    const read = async (id: string) => texts((await conversations.read('ada', id)).items)
    expect(await read(branch.id)).toEqual(['hello', 'Hi.', 'otherwise'])
    expect(await read(thread.id)).toEqual(['hello', 'Hi.', 'more', 'and on'])
    const retold = await conversations.branch('ada', thread.id, asked.id)
    const retelling = await conversations.open('ada', retold.id)
    expect(retelling.items).toEqual([])
    retelling.put(said('good evening'))
    expect(retelling.title).toBe('hello')
    for (const gone of await Promise.allSettled([
      conversations.branch('bob', thread.id, asked.id),
      conversations.branch('ada', thread.id, 'item_none'),
      conversations.branch('ada', branch.id, more.id),
      conversations.branches('bob', thread.id),
    ]))
      expect(gone).toMatchObject({ status: 'rejected', reason: { code: 'not_found' } })
  })

  it('stands in the list and in what is found for its family, once, as it was used last', async () => {
    const { conversations } = await openScratch()
    const [asked, answer] = [said('about lighthouses'), answered('Tall.')]
    const root = await talk(conversations, 'ada', asked, answer)
    const { id: branch } = await conversations.branch('ada', root, answer.id)
    const alone = await talk(conversations, 'ada', said('alone'))
    expect(await ids(conversations.list('ada'))).toEqual([alone, branch])
    expect((await conversations.search('ada', 'lighthouses')).map(({ id }) => id)).toEqual([branch])
    expect((await conversations.search('ada', 'tall')).map(({ id }) => id)).toEqual([root])
    // Who goes back to another version uses it.
    const thread = await conversations.open('ada', root)
    await thread.flush()
    expect(await ids(conversations.list('ada'))).toEqual([root, alone])
    await conversations.name('ada', root, { pinned: true, title: 'Towers' })
    expect(await conversations.read('ada', branch)).toMatchObject({ title: 'Towers', pinned: true })
    await conversations.delete('ada', branch)
    expect(await ids(conversations.list('ada'))).toEqual([alone])
    await expect(conversations.open('ada', root)).rejects.toMatchObject({ code: 'not_found' })
    await conversations.restore('ada', root)
    expect(await conversations.read('ada', branch)).toMatchObject({ title: 'Towers' })
    expect(await ids(conversations.list('ada'))).toEqual([root, alone])
  })

  it('parts where its words do, seen from each of its family', async () => {
    const { conversations } = await openScratch()
    const [u1, a1, u2, a2] = [said('u1'), answered('a1'), said('u2'), answered('a2')]
    const root = await talk(conversations, 'ada', u1, a1, u2, a2)
    expect(await conversations.branches('ada', root)).toEqual({ points: [] })
    const branch = async (of: string, before: string, ...items: Item[]) => {
      const { id } = await conversations.branch('ada', of, before)
      const thread = await conversations.open('ada', id)
      for (const item of items) thread.put(item)
      thread.leave()
      return id
    }
    const [v2, w2, v1, b2] = [said('v2'), said('w2'), said('v1'), answered('b2')]
    const second = await branch(root, u2.id, v2)
    const retried = await branch(root, a2.id, b2)
    const third = await branch(second, v2.id, w2)
    const anew = await branch(root, u1.id, v1)
    // Nothing is said in it yet.
    const silent = await branch(root, u2.id)
    expect((await conversations.branches('ada', root)).points).toEqual([
      { item: u1.id, versions: [root, anew], current: 0 },
      { item: u2.id, versions: [root, second, third], current: 0 },
      { item: a2.id, versions: [root, retried], current: 0 },
    ])
    expect((await conversations.branches('ada', second)).points).toEqual([
      { item: u1.id, versions: [second, anew], current: 0 },
      { item: v2.id, versions: [retried, second, third], current: 1 },
    ])
    expect((await conversations.branches('ada', anew)).points).toEqual([
      { item: v1.id, versions: [silent, anew], current: 1 },
    ])
  })
})

describe('the items of a conversation', () => {
  it('come page by page, the last first, open or not', async () => {
    const first = await openScratch()
    const items = Array.from({ length: 250 }, (_, at) => said(`line ${at}`))
    const id = await talk(first.conversations, 'ada', ...items)
    const read = async (conversations: Conversations) => {
      const found: Item[] = []
      for (let earlier = true; earlier;) {
        const page = await conversations.itemsBefore('ada', id, found[0]?.id)
        found.unshift(...page.items)
        ;({ earlier } = page)
      }
      return found
    }
    expect(await read(first.conversations)).toEqual(items)
    await first.conversations.close()
    const { conversations } = await openScratch(first.folder)
    expect(await read(conversations)).toEqual(items)
    for (const gone of await Promise.allSettled([
      conversations.itemsBefore('bob', id, items[9]?.id ?? ''),
      conversations.itemsBefore('ada', id, 'item_none'),
      conversations.item('bob', id, items[9]?.id ?? ''),
    ]))
      expect(gone).toMatchObject({ status: 'rejected', reason: { code: 'not_found' } })
  })
})

describe('news', () => {
  it('of what is begun, said, changed, deleted and restored come to its owner alone, and not too often', async () => {
    const { conversations } = await openScratch()
    const heard: News[] = []
    const end = conversations.onNews('ada', (news) => heard.push(news))
    conversations.onNews('bob', () => expect.unreachable())
    const titles = () =>
      heard.splice(0).map((news) => ('changed' in news ? news.changed.title : news.removed))
    const thread = await conversations.open('ada')
    await thread.flush()
    expect(titles()).toEqual([])
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    thread.put(said('hello'))
    await thread.flush()
    expect(titles()).toEqual(['hello'])
    for (const words of ['more', 'and more', 'and on']) {
      thread.put(said(words))
      await thread.flush()
    }
    expect(titles()).toEqual([])
    await vi.advanceTimersByTimeAsync(1_000)
    expect(titles()).toEqual(['hello'])
    vi.useRealTimers()
    await conversations.name('ada', thread.id, { title: 'Mine' })
    await conversations.name('ada', thread.id, { pinned: true })
    expect(heard.at(-1)).toMatchObject({ changed: { id: thread.id, pinned: true } })
    expect(titles()).toEqual(['Mine', 'Mine'])
    const [first] = thread.items
    const branch = await conversations.branch('ada', thread.id, first?.id ?? '')
    expect(heard.at(-1)).toMatchObject({ changed: { id: branch.id, family: thread.id } })
    // The one that the list shows is told of, whichever was named.
    await conversations.name('ada', thread.id, { pinned: false })
    expect(heard.at(-1)).toMatchObject({ changed: { id: branch.id, pinned: false } })
    titles()
    await conversations.delete('ada', thread.id)
    expect(titles().toSorted()).toEqual([thread.id, branch.id].toSorted())
    await conversations.restore('ada', thread.id)
    expect(titles()).toEqual(['Mine'])
    end()
    await conversations.name('ada', thread.id, { title: 'Unheard' })
    expect(heard).toEqual([])
  })
})

describe('the search', () => {
  it('finds words wherever they stand, without their accents, and the last one by its beginning', async () => {
    const { conversations } = await openScratch()
    const id = await talk(
      conversations,
      'ada',
      said('Où est le café le plus proche ?'),
      answered('At the harbour, beside the old lighthouse.'),
      said('', { content: [{ type: 'input_audio', transcript: 'and what is open at midnight' }] }),
    )
    await talk(conversations, 'ada', said('A harbour of another kind'))
    for (const words of ['cafe', 'CAFÉ harb', 'lighthouse midni', 'ou est'])
      expect(
        (await conversations.search('ada', words)).map((found) => found.id),
        words,
      ).toEqual([id])
    expect((await conversations.search('ada', 'midnight'))[0]?.snippet).toEqual([
      { text: 'and what is open at ', marked: false },
      { text: 'midnight', marked: true },
    ])
    expect(await conversations.search('ada', 'harbour')).toHaveLength(2)
    expect(await conversations.search('ada', 'harb lighthouse')).toEqual([])
    expect(await conversations.search('bob', 'cafe')).toEqual([])
  })

  it('finds a title, follows what changes, and leaves pictures out', async () => {
    const { conversations } = await openScratch()
    const thread = await conversations.open('ada')
    const item = said('the first wording')
    thread.put(item)
    // What a later protocol may bring.
    thread.put(
      said('', {
        content: [{ type: 'input_image', image_url: 'data:image/png;base64,wording' }] as never,
      }),
    )
    thread.put({ id: 'item_call', type: 'function_call', name: 'look', arguments: '{}' } as never)
    await thread.flush()
    expect(await conversations.search('ada', 'base64')).toEqual([])
    expect(await conversations.search('ada', 'wording')).toHaveLength(1)
    await conversations.name('ada', thread.id, { title: 'Holiday plans' })
    expect((await conversations.search('ada', 'holi'))[0]?.snippet).toEqual([
      { text: 'Holiday', marked: true },
      { text: ' plans', marked: false },
    ])
    thread.put({ ...item, content: [{ type: 'input_text', text: 'another one' }] })
    await thread.flush()
    expect(await conversations.search('ada', 'wording')).toEqual([])
    expect(thread.title).toBe('Holiday plans')
    thread.remove(item.id)
    await thread.flush()
    expect(await conversations.search('ada', 'another')).toEqual([])
  })

  it('takes any input', async () => {
    const { conversations } = await openScratch()
    await talk(conversations, 'ada', said("it's 5 o'clock NEAR the sea AND not OR"))
    for (const words of [
      '',
      ' ',
      '"(*',
      '"',
      '*',
      "'",
      'AND',
      'NEAR(',
      'text:sea',
      '-sea',
      '^',
      'a\0b',
      '\uD800',
      '🙂',
      '{x}',
      'sea OR',
      'x'.repeat(5_000),
    ])
      await expect(conversations.search('ada', words), words).resolves.toBeInstanceOf(Array)
    for (const words of ['"sea', "o'clo", '(sea)*', 'and', 'near(', '5'])
      expect(await conversations.search('ada', words), words).toHaveLength(1)
  })

  it('and the list stay fast among a thousand conversations', async () => {
    const { conversations } = await openScratch()
    const threads = await Promise.all(Array.from({ length: 1_000 }, () => conversations.open('ada')))
    threads.forEach((thread, at) => {
      for (const part of ['question', 'answer', 'afterthought']) thread.put(said(`${part} about topic${at}`))
    })
    await threads[0]?.flush()
    const began = performance.now()
    expect((await conversations.list('ada')).conversations).toHaveLength(50)
    expect(await conversations.search('ada', 'topic77')).toHaveLength(11)
    expect(await conversations.search('ada', 'afterthought about')).toHaveLength(50)
    expect(performance.now() - began).toBeLessThan(1_000)
  })
})

describe('a title', () => {
  it('that a person gave stays, open or not, and is told to those who have it open', async () => {
    const { conversations } = await openScratch()
    const id = await talk(conversations, 'ada', said('hello'))
    const thread = await conversations.open('ada', id)
    const heard: Change[] = []
    thread.onChange((change) => heard.push(change))
    expect(await conversations.name('ada', id, { title: 'Mine' })).toMatchObject({ id, title: 'Mine' })
    expect(heard).toEqual([{ kind: 'renamed', title: 'Mine' }])
    thread.put(said('more'), null)
    await thread.flush()
    expect((await conversations.list('ada')).conversations).toMatchObject([{ title: 'Mine' }])
    await expect(conversations.name('bob', id, { title: 'His' })).rejects.toMatchObject({ code: 'not_found' })
  })

  it('of a conversation that nobody has open is changed, and that is no news in the list', async () => {
    const first = await openScratch()
    vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 })
    const older = await talk(first.conversations, 'ada', said('older'))
    vi.setSystemTime(2_000_000)
    const newer = await talk(first.conversations, 'ada', said('newer'))
    await first.conversations.close()
    const { conversations } = await openScratch(first.folder)
    await conversations.name('ada', older, { title: 'Renamed' })
    expect((await conversations.list('ada')).conversations).toMatchObject([
      { id: newer },
      { id: older, title: 'Renamed' },
    ])
    expect((await conversations.open('ada', older)).title).toBe('Renamed')
  })

  for (const [what, words, title] of [
    ['that are few, whole', '  hi\n there ', 'hi there'],
    ['without a space, within sixty characters', 'x'.repeat(80), `${'x'.repeat(59)}…`],
    ['of sixty characters, whole', 'y'.repeat(60), 'y'.repeat(60)],
    ['up to a word', 'word '.repeat(20), `${'word '.repeat(11)}word…`],
  ] as const)
    it(`is made of words ${what}`, async () => {
      const { conversations } = await openScratch()
      const thread = await conversations.open('ada')
      thread.put(said(words))
      expect(thread.title).toBe(title)
    })
})

describe('a deleted conversation', () => {
  it('is gone from everywhere, those who have it open hear of it, and it can be restored', async () => {
    const { conversations } = await openScratch()
    const id = await talk(conversations, 'ada', said('secret plan'))
    const thread = await conversations.open('ada', id)
    const heard: Change[] = []
    thread.onChange((change) => heard.push(change))
    await expect(conversations.delete('bob', id)).rejects.toMatchObject({ code: 'not_found' })
    await conversations.delete('ada', id)
    expect(heard).toEqual([{ kind: 'deleted' }])
    expect((await conversations.list('ada')).conversations).toEqual([])
    expect(await conversations.search('ada', 'secret')).toEqual([])
    for (const gone of await Promise.allSettled([
      conversations.open('ada', id),
      conversations.read('ada', id),
      conversations.name('ada', id, { title: 'x' }),
      conversations.delete('ada', id),
      conversations.restore('bob', id),
    ]))
      expect(gone).toMatchObject({ status: 'rejected', reason: { code: 'not_found' } })
    thread.put(said('said meanwhile'))
    expect(await conversations.restore('ada', id)).toMatchObject({ id, title: 'secret plan' })
    await expect(conversations.restore('ada', id)).rejects.toMatchObject({ code: 'not_found' })
    expect(texts((await conversations.read('ada', id)).items)).toEqual(['secret plan', 'said meanwhile'])
  })

  it('goes for good after thirty days, and its words with it', async () => {
    const first = await openScratch()
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
    const id = await talk(first.conversations, 'ada', said('secret plan'))
    const kept = await talk(first.conversations, 'ada', said('kept plan'))
    await first.conversations.delete('ada', id)
    await first.conversations.close()
    vi.setSystemTime(Date.now() + 31 * 86_400_000)
    const { conversations, file } = await openScratch(first.folder)
    await expect(conversations.restore('ada', id)).rejects.toMatchObject({ code: 'not_found' })
    await conversations.close()
    const database = await openConversationDatabase(file)
    expect(await database.selectFrom('items').select('conversation_id').execute()).toEqual([
      { conversation_id: kept },
    ])
    await database.destroy()
  })
})
