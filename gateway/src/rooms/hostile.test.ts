/** What a friend may not do, however its gateway is made. */
import { describe, expect, it } from 'vitest'
import { createMesh, openGateway } from './gateways.fixture.ts'

const id = () => crypto.randomUUID()
const said = (text: string, more: object = {}) => ({
  type: 'say',
  id: id(),
  version: 1,
  author: 'mallory',
  text,
  at: 1,
  edited: null,
  deleted: false,
  reply: null,
  model: null,
  ...more,
})
const told = (text: string, more: object = {}) => ({
  ...said(text),
  type: 'message',
  after: 0,
  changed: 1,
  sequence: 1,
  from: 'home',
  ...more,
})

/** Ada’s room, in which Carol’s gateway is; Mallory’s is a friend of both, and in it only where it says so. */
async function opened() {
  const mesh = createMesh()
  const home = await openGateway(mesh, 'home', { people: ['ada'] })
  const friend = await openGateway(mesh, 'friend', { people: ['carol'] })
  mesh.join('mallory')
  const ada = home.who('ada')
  const { id: room } = await home.rooms.create(ada, { name: 'garden' })
  await home.rooms.inviteFriend(ada, room, 'friend')
  await mesh.settle()
  const [invitation] = (await friend.rooms.list(friend.who('carol'))).invitations
  await friend.rooms.accept(friend.who('carol'), invitation?.id ?? '', ['carol'])
  await mesh.settle()
  const there = await friend.room('carol', 'garden')
  return { mesh, home, friend, ada, room, there }
}

describe('a hostile friend', () => {
  it('says nothing in a room that it is not in, asks for nothing and hears nothing', async () => {
    const { mesh, home, room } = await opened()
    const message = await home.say('ada', room, 'Between us')
    await mesh.settle()
    for (const frame of [
      said('Hello', { room }),
      said('Changed', { room, id: message, version: 9 }),
      { type: 'names', room, names: ['mallory'] },
      { type: 'sync', room, after: 0 },
      { type: 'accept', room, names: ['mallory'] },
      { type: 'leave', room },
    ])
      await mesh.forge('mallory', 'home', frame)
    await mesh.settle()
    expect(await home.said('ada', room)).toEqual(['ada: Between us'])
    expect((await home.rooms.room(home.who('ada'), room)).gateways.map(({ name }) => name)).toEqual([
      'friend',
    ])
    expect(mesh.heard('mallory')).toEqual(['refused', 'refused', 'removed'])
  })

  it('speaks for its own people alone, and changes nobody else’s words', async () => {
    const { mesh, home, ada, room } = await opened()
    const hers = await home.say('ada', room, 'I like peas')
    await home.rooms.inviteFriend(ada, room, 'mallory')
    await mesh.forge('mallory', 'home', { type: 'accept', room, names: ['mallory', 'ada'] })
    for (const frame of [
      said('I am Carol', { room, author: 'carol' }),
      said('I hate peas', { room, id: hers, version: 2, author: 'ada' }),
      said('I am Ada', { room, author: 'ada' }),
    ])
      await mesh.forge('mallory', 'home', frame)
    await mesh.settle()
    // A name is no proof: what it says of an Ada of its own is shown as hers at Mallory’s.
    expect(await home.said('ada', room)).toEqual(['ada: I like peas', 'ada@mallory: I am Ada'])
    const [, forged] = (await home.rooms.page(ada, room, { limit: 9 })).messages
    expect(forged?.author).toEqual({ name: 'ada', gateway: 'mallory', via: null, person: null })
  })

  it('as a room’s home puts no words into the mouths of our people', async () => {
    const { mesh, friend, there } = await opened()
    const own = await friend.say('carol', there, 'Beans')
    await mesh.settle()
    const remote = mesh.lastRoom('home', 'friend')
    const { sequence: after } = await friend.rooms.room(friend.who('carol'), there)
    const next = (more: object) => told('I said that', { room: remote, after, changed: after + 1, ...more })
    for (const frame of [
      next({ from: 'you', author: 'carol' }),
      next({ from: { mesh: 'mesh-friend' }, author: 'carol' }),
      next({ from: { mesh: '' }, author: 'carol' }),
      next({ from: 'home', id: own, version: 7, author: 'carol' }),
      next({ from: 'you', id: own, version: 7, author: 'carol' }),
    ])
      await mesh.forge('home', 'friend', frame)
    await mesh.settle()
    expect(await friend.said('carol', there)).toEqual(['carol: Beans'])
    const third = { mesh: 'mesh-mallory' }
    const { sequence } = await friend.rooms.room(friend.who('carol'), there)
    await mesh.forge('home', 'friend', {
      type: 'people',
      room: remote,
      after: sequence,
      changed: sequence + 1,
      gateway: { ...third, name: 'berlin' },
      names: ['max'],
    })
    await mesh.forge(
      'home',
      'friend',
      told('Hi', {
        room: remote,
        after: sequence + 1,
        changed: sequence + 2,
        sequence: sequence + 2,
        from: third,
        author: 'max',
      }),
    )
    await mesh.settle()
    const { messages } = await friend.rooms.page(friend.who('carol'), there, { limit: 9 })
    // Whose word it is that it was Max stands beside his name, though Mallory’s gateway is a friend, too.
    expect(messages.at(-1)?.author).toEqual({ name: 'max', gateway: 'berlin', via: 'home', person: null })
  })

  it('sends what is too large, malformed or out of order, and nothing comes of it', async () => {
    const { mesh, friend, there } = await opened()
    const remote = mesh.lastRoom('home', 'friend')
    const { sequence: after } = await friend.rooms.room(friend.who('carol'), there)
    const good = { room: remote, after, changed: after + 1, sequence: after + 1, author: 'ada' }
    for (const frame of [
      'nonsense',
      null,
      { type: 'message' },
      told('x'.repeat(7_000), good),
      told('\u0001'.repeat(1_300), good),
      told('   ', good),
      told('name', { ...good, author: 'a'.repeat(64) }),
      told('name', { ...good, author: 'ada\u202Enimda' }),
      told('place', { ...good, sequence: 1e300 }),
      told('id', { ...good, id: '../../etc' }),
      told('from the future', { ...good, after: after + 9, changed: after + 10, sequence: after + 10 }),
      { type: 'invite', room: 'nonsense', name: 'x', by: 'y' },
      { type: 'name', room: remote, after, changed: after + 1, name: 'line\nline' },
    ])
      await mesh.forge('home', 'friend', frame)
    await mesh.settle()
    expect(await friend.said('carol', there)).toEqual([])
    expect(await friend.rooms.room(friend.who('carol'), there)).toMatchObject({ name: 'garden' })
    await mesh.forge('home', 'friend', told('Still here', { ...good, after: 0, changed: after + 3 }))
    await mesh.settle()
    expect(await friend.said('carol', there)).toEqual(['ada@home: Still here'])
  })

  it('invites and asks without end, and twenty of each wait at most', async () => {
    const mesh = createMesh()
    const home = await openGateway(mesh, 'home', { people: ['ada'] })
    mesh.join('mallory')
    const ada = home.who('ada')
    for (let at = 0; at < 25; at += 1) {
      await home.rooms.create(ada, { name: `public ${at}`, public: true })
      await mesh.forge('mallory', 'home', { type: 'invite', room: id(), name: 'Join me', by: 'mallory' })
      await mesh.forge('mallory', 'home', { type: 'ask', name: `public ${at}`, by: 'mallory' })
    }
    await mesh.settle()
    const { invitations, rooms } = await home.rooms.list(ada)
    expect(invitations).toHaveLength(20)
    expect(rooms.filter(({ gateways }) => gateways.length > 0)).toHaveLength(20)
  })

  it('floods, and waits for it: nothing is lost, and nobody else is held up', async () => {
    const mesh = createMesh()
    const home = await openGateway(mesh, 'home', { people: ['ada'], pace: { points: 20, seconds: 2 } })
    mesh.join('mallory')
    mesh.join('friend')
    const ada = home.who('ada')
    const { id: room } = await home.rooms.create(ada, { name: 'garden' })
    for (const name of ['mallory', 'friend']) {
      await home.rooms.inviteFriend(ada, room, name)
      await mesh.forge(name, 'home', { type: 'accept', room, names: [name] })
    }
    await mesh.settle()
    for (let at = 0; at < 60; at += 1) await mesh.forge('mallory', 'home', said(`flood ${at}`, { room }))
    await mesh.forge('friend', 'home', said('calm', { room, author: 'friend' }))
    await expect.poll(() => home.said('ada', room), { timeout: 5_000 }).toContain('friend@friend: calm')
    expect(mesh.waiting('mallory', 'home')).toBeGreaterThan(0)
    await expect.poll(async () => (await home.said('ada', room)).length, { timeout: 20_000 }).toBe(61)
    const texts = (await home.said('ada', room)).filter((line) => line.includes('flood'))
    expect(texts).toEqual(Array.from({ length: 60 }, (_, at) => `mallory@mallory: flood ${at}`))
  })
})
