import { afterEach, describe, expect, it } from 'vitest'
import type { Room, RoomEvent, RoomList, RoomMessage, RoomPage, RoomsFound } from '#protocol/rooms.ts'
import { createMesh, engineThat, openGateway } from '#rooms/gateways.fixture.ts'
import { roomRoutes } from './rooms.ts'
import { serveApi } from './serve.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

interface Init {
  readonly method?: string
  readonly body?: object
  readonly headers?: Record<string, string>
  readonly signal?: AbortSignal
}

/** Ada’s programs at a gateway where there is a Bob, too. */
async function open() {
  const home = await openGateway(createMesh(), 'home', {
    people: ['ada', 'bob'],
    engines: engineThat(async function* () {
      yield 'Forty-two'
    }),
  })
  const recorder = { opened: () => () => {} }
  const api = await serveApi({
    more: roomRoutes({ rooms: home.rooms, recorder }),
    keys: { script: {}, chatter: { services: ['chat'] }, roomy: { services: ['rooms'] } },
  })
  closers.push(api.close)
  const ask = (path: string, { body, ...init }: Init = {}, key = 'script') =>
    fetch(`${api.url}/sotto/rooms${path}`, {
      ...init,
      ...(body && { body: JSON.stringify(body) }),
      headers: { ...init.headers, ...(key !== '' && { 'x-api-key': api.secrets[key] ?? '' }) },
    })
  const read = async <T>(path: string, init: Init = {}, key?: string): Promise<T> => {
    const answer = await ask(path, init, key)
    return (await answer.json()) as T
  }
  const post = (text: string, more: object = {}): Init => ({
    method: 'POST',
    body: { id: crypto.randomUUID(), text, ...more },
  })
  return { ask, home, post, read, rows: api.rows }
}

describe('rooms over HTTP', () => {
  it('are made, written in, read, searched and ended', async () => {
    const { ask, home, post, read } = await open()
    const made = await read<Room>('', { method: 'POST', body: { name: ' Kitchen ' } })
    expect(made).toMatchObject({ name: 'Kitchen', home: null, role: 'owner', unread: 0, last: null })
    const place = `/${made.id}`
    expect((await ask(`${place}/members`, { method: 'POST', body: { person: 'bob' } })).status).toBe(200)
    const first = await read<RoomMessage>(`${place}/messages`, post('Soup at *seven*'))
    expect(first).toMatchObject({ author: { name: 'ada', person: 'ada' }, state: 'sent', model: null })
    await home.say('bob', made.id, 'I bring bread')
    const page = await read<RoomPage>(`${place}/messages?limit=1`)
    expect(page).toMatchObject({ messages: [{ text: 'I bring bread' }], earlier: true })
    const before = page.messages[0]?.sequence
    expect(await read<RoomPage>(`${place}/messages?before=${before}`)).toMatchObject({
      messages: [{ id: first.id }],
      earlier: false,
    })
    const { rooms } = await read<RoomList>('')
    expect(rooms).toMatchObject([{ unread: 1, last: { author: 'bob', text: 'I bring bread' } }])
    expect((await ask(`${place}/own`, { method: 'PUT', body: { read: before, muted: true } })).status).toBe(
      204,
    )
    expect(await read<Room>(place)).toMatchObject({ unread: 0, muted: true })
    expect(await read<RoomsFound>('/search?words=soup')).toMatchObject({
      messages: [{ room: made.id, snippet: [{ text: 'Soup', marked: true }, { text: ' at *seven*' }] }],
    })
    const message = `${place}/messages/${first.id}`
    expect(await read(message, { method: 'PATCH', body: { text: 'Soup at eight' } })).toMatchObject({
      text: 'Soup at eight',
      editedAt: expect.any(String),
    })
    expect((await ask(message, { method: 'DELETE' })).status).toBe(204)
    expect((await ask(place, { method: 'DELETE' })).status).toBe(204)
    expect((await ask(place)).status).toBe(404)
  })

  it('are for people: not for this machine, nor for a key that may use other services alone', async () => {
    const { ask, read } = await open()
    const host = await ask('', {}, '')
    expect(host.status).toBe(403)
    expect(await host.json()).toMatchObject({ error: { code: 'person_needed' } })
    expect((await ask('', {}, 'chatter')).status).toBe(403)
    expect((await ask('/events', {}, 'chatter')).status).toBe(403)
    expect((await read<RoomList>('', {}, 'roomy')).self).toEqual({ person: 'ada', name: 'ada' })
  })

  it('refuse what can’t be, and say why', async () => {
    const { ask, post, read } = await open()
    const { id } = await read<Room>('', { method: 'POST', body: { name: 'Kitchen' } })
    const cases: readonly (readonly [string, Init, number, string])[] = [
      ['', { method: 'POST', body: { name: ' ' } }, 400, 'name: is empty'],
      ['', { method: 'POST', body: { name: 'two\nlines' } }, 400, 'name: is one line'],
      ['', { method: 'POST', body: { name: 'x'.repeat(81) } }, 400, 'name: is longer than 80'],
      [`/${id}`, { method: 'PATCH', body: {} }, 400, 'nothing to change'],
      [`/${id}/messages`, post('x'.repeat(6_200)), 413, '6 KiB'],
      [`/${id}/messages`, post(' '), 400, 'text: is empty'],
      [`/${id}/messages`, { method: 'POST', body: { id: 'mine', text: 'x' } }, 400, 'id: is a UUID'],
      [`/${id}/messages?limit=1000`, {}, 400, 'limit: send a number'],
      [`/${id}/members`, { method: 'POST', body: { person: 'nobody' } }, 404, 'no such person'],
      [`/${id}/friends`, { method: 'POST', body: { friend: 'nobody' } }, 404, 'no friend named'],
      [`/${crypto.randomUUID()}`, {}, 404, 'no such room'],
      ['/events', { headers: { 'last-event-id': 'x' } }, 400, 'Last-Event-ID'],
    ]
    for (const [path, init, status, words] of cases) {
      const answer = await ask(path, init)
      const { error } = (await answer.json()) as { error: { message: string } }
      expect([answer.status, error.message], path).toEqual([status, expect.stringContaining(words)])
    }
  })

  it('hold a person to sixty messages a minute', async () => {
    const { ask, post, read } = await open()
    const { id } = await read<Room>('', { method: 'POST', body: { name: 'Kitchen' } })
    for (let at = 0; at < 60; at += 1) expect((await ask(`/${id}/messages`, post(`${at}`))).status).toBe(201)
    const refused = await ask(`/${id}/messages`, post('61'))
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  it('are followed by events, which go on where they ended', async () => {
    const { ask, home, read } = await open()
    const { id: room } = await read<Room>('', { method: 'POST', body: { name: 'Kitchen' } })
    const first = await follow(ask)
    expect(await first.until((event) => event.type === 'hello')).toMatchObject({
      missed: false,
      list: { rooms: [{ id: room }] },
    })
    await home.say('ada', room, 'one')
    await first.until((event) => event.type === 'message' && event.message.text === 'one')
    const { lastId } = first
    first.leave()
    await home.say('ada', room, 'two')
    const again = await follow(ask, lastId())
    const seen: string[] = []
    await again.until((event) => {
      if (event.type === 'message') seen.push(event.message.text)
      return seen.includes('two')
    })
    expect(seen).toEqual(['two'])
    // What the assistant writes is there while it is written, and is said once it is whole.
    await home.say('ada', room, '@sotto what is it?')
    const draft = await again.until((event) => event.type === 'draft' && event.draft.state === 'writing')
    const answer = await again.until((event) => event.type === 'message' && event.message.model !== null)
    expect(answer).toMatchObject({
      message: { text: 'Forty-two', id: draft.type === 'draft' && draft.draft.id },
    })
    again.leave()
  })
})

/** Reads a stream of events as a browser does. */
async function follow(ask: (path: string, init: Init) => Promise<Response>, since?: string) {
  const leaving = new AbortController()
  const answer = await ask('/events', {
    signal: leaving.signal,
    ...(since !== undefined && { headers: { 'last-event-id': since } }),
  })
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
  const events: RoomEvent[] = []
  let last = ''
  let text = ''
  const more = async (): Promise<void> => {
    const { value = '', done } = (await reader?.read()) ?? { done: true }
    if (done) throw new Error('it ended')
    text += value
    const parts = text.split('\n\n')
    text = parts.pop() ?? ''
    for (const part of parts) {
      last = /^id: (\d+)$/m.exec(part)?.[1] ?? last
      const data = /^data: (.*)$/m.exec(part)?.[1]
      if (data !== undefined) events.push(JSON.parse(data) as RoomEvent)
    }
  }
  return {
    lastId: () => last,
    leave: () => leaving.abort(),
    async until(wanted: (event: RoomEvent) => boolean): Promise<RoomEvent> {
      for (;;) {
        for (let next = events.shift(); next; next = events.shift()) if (wanted(next)) return next
        await more()
      }
    },
  }
}
