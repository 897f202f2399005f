import { describe, expect, it } from 'vitest'
import { createMesh, openGateway, waitFor, type Gateway, type Mesh } from './gateways.fixture.ts'

/** Ada and Bob at home, Carol and Dan at a friend's; a room at home with all of them but Dan. */
async function twoGateways(mesh: Mesh = createMesh()) {
  const home = await openGateway(mesh, 'home', { people: ['ada', 'bob'] })
  const friend = await openGateway(mesh, 'friend', { people: ['carol', 'dan'] })
  const { id } = await home.rooms.create(home.who('ada'), { name: 'garden' })
  await home.rooms.addPerson(home.who('ada'), id, 'bob')
  await home.rooms.inviteFriend(home.who('ada'), id, 'friend')
  await mesh.settle()
  const [invitation] = (await friend.rooms.list(friend.who('carol'))).invitations
  await friend.rooms.accept(friend.who('carol'), invitation?.id ?? '', ['carol'])
  await mesh.settle()
  return { mesh, home, friend, here: id, there: await friend.room('carol', 'garden') }
}

describe('a room of one gateway', () => {
  it('is there for those who are in it, and for nobody else', async () => {
    const home = await openGateway(createMesh(), 'home', { people: ['ada', 'bob', 'eve'] })
    const { id } = await home.rooms.create(home.who('ada'), { name: 'kitchen' })
    await home.rooms.addPerson(home.who('ada'), id, 'bob')
    await home.say('ada', id, 'Soup at seven')
    await home.say('bob', id, 'I bring bread')
    expect(await home.said('bob', id)).toEqual(['ada: Soup at seven', 'bob: I bring bread'])
    const eve = home.who('eve')
    expect((await home.rooms.list(eve)).rooms).toEqual([])
    for (const refused of await Promise.allSettled([
      home.rooms.room(eve, id),
      home.rooms.page(eve, id, { limit: 10 }),
      home.say('eve', id, 'Me, too'),
      home.rooms.addPerson(eve, id, 'eve'),
      home.rooms.delete(eve, id),
    ]))
      expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'not_found' } })
    expect((await home.rooms.search(eve, 'soup', 10)).messages).toEqual([])
    await expect(home.rooms.delete(home.who('bob'), id)).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('counts what one has not read, but not what one wrote oneself', async () => {
    const home = await openGateway(createMesh(), 'home', { people: ['ada', 'bob'] })
    const { id } = await home.rooms.create(home.who('ada'), { name: 'kitchen' })
    await home.say('ada', id, 'before bob')
    await home.rooms.addPerson(home.who('ada'), id, 'bob')
    for (const text of ['one', 'two', 'three']) await home.say('ada', id, text)
    const unread = async (name: string) => (await home.rooms.room(home.who(name), id)).unread
    expect([await unread('ada'), await unread('bob')]).toEqual([0, 3])
    const { messages } = await home.rooms.page(home.who('bob'), id, { limit: 2 })
    await home.rooms.setOwn(home.who('bob'), id, { read: messages[0]?.sequence ?? 0 })
    expect(await unread('bob')).toBe(1)
    // Another of his devices is behind: what is read stays read.
    await home.rooms.setOwn(home.who('bob'), id, { read: 1 })
    expect(await unread('bob')).toBe(1)
  })

  it('is read page by page, and found by its words', async () => {
    const home = await openGateway(createMesh(), 'home', { people: ['ada'] })
    const { id } = await home.rooms.create(home.who('ada'), { name: 'kitchen' })
    for (let at = 1; at <= 7; at += 1) await home.say('ada', id, `Café number ${at}`)
    const read: string[] = []
    let before: number | undefined
    for (let earlier = true; earlier;) {
      const page = await home.rooms.page(home.who('ada'), id, { before, limit: 3 })
      read.unshift(...page.messages.map(({ text }) => text))
      before = page.messages[0]?.sequence ?? undefined
      ;({ earlier } = page)
    }
    expect(read).toEqual([1, 2, 3, 4, 5, 6, 7].map((at) => `Café number ${at}`))
    const { messages } = await home.rooms.search(home.who('ada'), 'cafe 4', 10)
    expect(messages.map(({ message }) => message.text)).toEqual(['Café number 4'])
    expect(messages[0]?.snippet).toContainEqual({ text: 'Café', marked: true })
  })

  it('takes a message that is sent twice once, changes and deletes by its author alone', async () => {
    const home = await openGateway(createMesh(), 'home', { people: ['ada', 'bob'] })
    const ada = home.who('ada')
    const { id } = await home.rooms.create(ada, { name: 'kitchen' })
    await home.rooms.addPerson(ada, id, 'bob')
    const message = await home.say('ada', id, 'Tee')
    const again = {
      who: ada,
      caller: { ...memberless, personId: 'ada', person: 'ada' },
      address: '',
      room: id,
    }
    await home.rooms.post(again, { id: message, text: 'Tee' })
    expect(await home.said('ada', id)).toEqual(['ada: Tee'])
    await expect(home.rooms.edit(home.who('bob'), id, message, 'Beer')).rejects.toMatchObject({
      code: 'forbidden',
    })
    const [{ sequence } = { sequence: null }] = (await home.rooms.page(ada, id, { limit: 1 })).messages
    expect(await home.rooms.edit(ada, id, message, 'Tea')).toMatchObject({ text: 'Tea', sequence })
    await home.rooms.deleteMessage(ada, id, message)
    expect(await home.said('bob', id)).toEqual(['ada: (deleted)'])
    expect((await home.rooms.search(ada, 'Tea', 10)).messages).toEqual([])
    await expect(home.say('ada', id, '🙂'.repeat(3_000))).rejects.toMatchObject({ code: 'too_large' })
    await expect(home.say('ada', id, ' \n')).rejects.toMatchObject({ code: 'invalid' })
  })

  it('passes to the next when its owner leaves, and ends with the last', async () => {
    const home = await openGateway(createMesh(), 'home', { people: ['ada', 'bob'] })
    const { id } = await home.rooms.create(home.who('ada'), { name: 'kitchen', public: true })
    await home.rooms.addPerson(home.who('ada'), id, 'bob')
    await home.rooms.removePerson(home.who('ada'), id, 'ada')
    expect(await home.rooms.room(home.who('bob'), id)).toMatchObject({ role: 'owner' })
    await home.rooms.removePerson(home.who('bob'), id, 'bob')
    expect((await home.rooms.list(home.who('bob'))).rooms).toEqual([])
  })

  it('passes to the next when its owner leaves the gateway', async () => {
    const home = await openGateway(createMesh(), 'home', { people: ['ada', 'bob', 'eve'] })
    const { id } = await home.rooms.create(home.who('ada'), { name: 'kitchen' })
    await home.rooms.addPerson(home.who('ada'), id, 'bob')
    await home.rooms.addPerson(home.who('ada'), id, 'eve')
    await expect(home.rooms.removePerson(home.who('bob'), id, 'eve')).rejects.toMatchObject({
      code: 'forbidden',
    })
    home.forget('ada')
    expect(await home.rooms.room(home.who('bob'), id)).toMatchObject({
      role: 'owner',
      members: [{ name: 'bob', role: 'owner' }, { name: 'eve' }],
    })
    await home.rooms.removePerson(home.who('bob'), id, 'eve')
    await home.rooms.delete(home.who('bob'), id)
    expect((await home.rooms.list(home.who('bob'))).rooms).toEqual([])
  })

  it('tells those who follow it, and what they missed when they come again', async () => {
    const home = await openGateway(createMesh(), 'home', { people: ['ada', 'bob'] })
    const ada = home.who('ada')
    const { id } = await home.rooms.create(ada, { name: 'kitchen' })
    const coming = waitFor(home, 'ada', (event) => event.type === 'message' && event.message.text === 'two')
    await home.say('ada', id, 'one')
    await home.say('ada', id, 'two')
    const event = await coming
    const { revision } = event.type === 'message' ? event.message : { revision: NaN }
    await home.say('ada', id, 'three')
    await home.say('ada', id, 'four')
    const missed: string[] = []
    await new Promise<void>((settle) => {
      const leave = home.rooms.follow(
        ada,
        (one) => {
          if (one.type !== 'message') return
          missed.push(one.message.text)
          if (one.message.text !== 'four') return
          leave()
          settle()
        },
        revision,
      )
    })
    expect(missed).toEqual(['three', 'four'])
    const gone = waitFor(home, 'ada', ({ type }) => type === 'gone')
    await new Promise((settle) => setTimeout(settle, 50))
    await home.rooms.delete(ada, id)
    expect(await gone).toEqual({ type: 'gone', room: id })
  })
})

const memberless = {
  kind: 'device',
  name: 'phone',
  tenant: { id: 'home', name: 'home', disabledAt: null },
  admin: false,
  held: [],
} as const

describe('a room of two gateways', () => {
  it('has its people’s words in one order on both', async () => {
    const { mesh, home, friend, here, there } = await twoGateways()
    await home.say('ada', here, 'What grows?')
    await mesh.settle()
    mesh.cut('home', 'friend')
    await friend.say('carol', there, 'Beans')
    expect(await friend.said('carol', there)).toContain('carol: Beans (pending)')
    mesh.mend('home', 'friend')
    await mesh.settle()
    await home.say('bob', here, 'And peas')
    await mesh.settle()
    expect(await home.said('bob', here)).toEqual(['ada: What grows?', 'carol@friend: Beans', 'bob: And peas'])
    expect(await friend.said('carol', there)).toEqual([
      'ada@home: What grows?',
      'carol: Beans',
      'bob@home: And peas',
    ])
    const seen = await friend.rooms.room(friend.who('carol'), there)
    expect(seen).toMatchObject({ name: 'garden', home: 'home', unread: 2, role: 'member' })
    expect(seen.gateways).toEqual([
      { name: 'home', via: null, state: 'joined', connected: true, people: ['ada', 'bob'] },
    ])
    // Dan is at the same gateway, and not in it.
    await expect(friend.rooms.page(friend.who('dan'), there, { limit: 1 })).rejects.toMatchObject({
      code: 'not_found',
    })
  })

  it('keeps from a friend what was said before it came, also when that is changed later', async () => {
    const mesh = createMesh()
    const home = await openGateway(mesh, 'home', { people: ['ada'] })
    const friend = await openGateway(mesh, 'friend', { people: ['carol'] })
    const { id } = await home.rooms.create(home.who('ada'), { name: 'garden' })
    const secret = await home.say('ada', id, 'Carol’s present is a spade')
    await home.rooms.inviteFriend(home.who('ada'), id, 'friend')
    await mesh.settle()
    const [invitation] = (await friend.rooms.list(friend.who('carol'))).invitations
    expect(invitation).toMatchObject({ name: 'garden', friend: 'home', by: 'ada' })
    await friend.rooms.accept(friend.who('carol'), invitation?.id ?? '', ['carol'])
    await mesh.settle()
    await home.rooms.edit(home.who('ada'), id, secret, 'Carol’s present is a rake')
    await home.say('ada', id, 'Welcome')
    await mesh.forge('friend', 'home', { type: 'sync', room: id, after: 0 })
    await mesh.settle()
    expect(await friend.said('carol', await friend.room('carol', 'garden'))).toEqual(['ada@home: Welcome'])
  })

  it('loses nothing while one is away, and says what waits', async () => {
    const { mesh, home, friend, here, there } = await twoGateways()
    mesh.cut('home', 'friend')
    for (let at = 1; at <= 3; at += 1) {
      await home.say('ada', here, `here ${at}`)
      await friend.say('carol', there, `there ${at}`)
    }
    await mesh.settle()
    expect(await friend.said('carol', there)).toEqual([1, 2, 3].map((at) => `carol: there ${at} (pending)`))
    expect(await friend.rooms.room(friend.who('carol'), there)).toMatchObject({ connected: false })
    await Promise.all([home.restart(), friend.restart()])
    mesh.mend('home', 'friend')
    await mesh.settle()
    const all = await home.said('ada', here)
    expect(all).toHaveLength(6)
    expect(await friend.said('carol', there)).toEqual(
      all.map((line) => line.replace('carol@friend', 'carol').replace('ada:', 'ada@home:')),
    )
    expect(all.filter((line) => line.includes('there'))).toEqual(
      [1, 2, 3].map((at) => `carol@friend: there ${at}`),
    )
  })

  it('carries changes and deletions, of what is on its way, too', async () => {
    const { mesh, home, friend, here, there } = await twoGateways()
    const carol = friend.who('carol')
    mesh.cut('home', 'friend')
    const typo = await friend.say('carol', there, 'Bens')
    const regret = await friend.say('carol', there, 'Weeds')
    await mesh.settle()
    await friend.rooms.edit(carol, there, typo, 'Beans')
    await friend.rooms.deleteMessage(carol, there, regret)
    mesh.mend('home', 'friend')
    await mesh.settle()
    expect(await home.said('ada', here)).toEqual(['carol@friend: Beans', 'carol@friend: (deleted)'])
    expect(await friend.said('carol', there)).toEqual(['carol: Beans', 'carol: (deleted)'])
    await friend.rooms.edit(carol, there, typo, 'Runner beans')
    await mesh.settle()
    expect((await home.said('ada', here))[0]).toBe('carol@friend: Runner beans')
  })

  it('goes on after either was restored from a backup', async () => {
    const { mesh, home, friend, here, there } = await twoGateways()
    await home.say('ada', here, 'one')
    await mesh.settle()
    // The friend's copy is as it was before.
    const { openRoomDatabase } = await import('./database.ts')
    const database = await openRoomDatabase(friend.file)
    await database.deleteFrom('messages').execute()
    await database
      .updateTable('rooms')
      .set(({ eb }) => ({ sequence: eb('sequence', '-', 1) }))
      .execute()
    await database.destroy()
    await home.say('ada', here, 'two')
    await mesh.settle()
    expect(await friend.said('carol', there)).toEqual(['ada@home: one', 'ada@home: two'])
  })

  it('sends again what was not answered and went with a friend that was removed', async () => {
    const { mesh, home, friend, here, there } = await twoGateways()
    mesh.cut('home', 'friend')
    await friend.say('carol', there, 'Beans')
    await home.say('ada', here, 'Peas')
    await mesh.settle()
    mesh.forget('friend', 'home')
    mesh.forget('home', 'friend')
    mesh.mend('home', 'friend')
    await mesh.settle()
    expect(await home.said('ada', here)).toEqual(['ada: Peas'])
    await friend.restart()
    await mesh.settle()
    const all = ['ada: Peas', 'carol@friend: Beans']
    expect(await home.said('ada', here)).toEqual(all)
    await expect
      .poll(() => friend.said('carol', there), { timeout: 5_000 })
      .toEqual(['ada@home: Peas', 'carol: Beans'])
  })

  it('is closed for a friend that is taken out, and stays to be read there', async () => {
    const { mesh, home, friend, here, there } = await twoGateways()
    await home.say('ada', here, 'Bye')
    await mesh.settle()
    await home.rooms.removeFriend(home.who('ada'), here, 'friend')
    await home.say('ada', here, 'Alone at last')
    await mesh.settle()
    expect(await friend.said('carol', there)).toEqual(['ada@home: Bye'])
    expect(await friend.rooms.room(friend.who('carol'), there)).toMatchObject({ state: 'closed' })
    await expect(friend.say('carol', there, 'Hello?')).rejects.toMatchObject({ detail: 'room_closed' })
    await friend.rooms.removePerson(friend.who('carol'), there, 'carol')
    expect((await friend.rooms.list(friend.who('carol'))).rooms).toEqual([])
  })

  it('is asked for by its announced name, and the owner lets in', async () => {
    const mesh = createMesh()
    const home = await openGateway(mesh, 'home', { people: ['ada'] })
    const friend = await openGateway(mesh, 'friend', { people: ['carol', 'dan'] })
    const { id } = await home.rooms.create(home.who('ada'), { name: 'market', public: true })
    await home.rooms.create(home.who('ada'), { name: 'closed' })
    const dan = friend.who('dan')
    expect((await friend.rooms.list(dan)).friends).toEqual([
      { name: 'home', connected: true, rooms: ['market'] },
    ])
    await expect(friend.rooms.ask(dan, 'home', 'closed')).rejects.toMatchObject({ code: 'not_found' })
    await friend.rooms.ask(dan, 'home', 'market')
    await mesh.settle()
    expect((await friend.rooms.list(dan)).asked).toEqual([{ friend: 'home', name: 'market' }])
    expect((await home.rooms.room(home.who('ada'), id)).gateways).toMatchObject([
      { name: 'friend', state: 'asking', people: ['dan'] },
    ])
    await home.rooms.inviteFriend(home.who('ada'), id, 'friend')
    await mesh.settle()
    const there = await friend.room('dan', 'market')
    await friend.say('dan', there, 'Apples?')
    await mesh.settle()
    expect(await home.said('ada', id)).toEqual(['dan@friend: Apples?'])
    expect((await friend.rooms.list(friend.who('carol'))).rooms).toEqual([])
  })

  it('has the same order everywhere after any cuts, with nothing lost or doubled', async () => {
    for (const seed of [1, 2, 3]) {
      const random = generator(seed)
      const mesh = createMesh(12)
      const home = await openGateway(mesh, 'home', { people: ['ada'] })
      const names = ['north', 'south']
      const guests = new Map<string, Gateway>()
      const { id } = await home.rooms.create(home.who('ada'), { name: 'square' })
      for (const name of names) {
        const guest = await openGateway(mesh, name, { people: [`of-${name}`] })
        guests.set(name, guest)
        await home.rooms.inviteFriend(home.who('ada'), id, name)
        await mesh.settle()
        const who = guest.who(`of-${name}`)
        const [invitation] = (await guest.rooms.list(who)).invitations
        await guest.rooms.accept(who, invitation?.id ?? '', [who.id])
      }
      await mesh.settle()
      const places = await Promise.all(
        names.map(async (name) => {
          const gateway = guests.get(name) ?? home
          return { name, gateway, who: `of-${name}`, room: await gateway.room(`of-${name}`, 'square') }
        }),
      )
      const everywhere = [{ name: 'home', gateway: home, who: 'ada', room: id }, ...places]
      const written: string[] = []
      for (let step = 0; step < 60; step += 1) {
        const place = everywhere[Math.floor(random() * everywhere.length)] ?? everywhere[0]
        const name = names[Math.floor(random() * names.length)] ?? ''
        const chance = random()
        if (chance < 0.15) mesh.cut('home', name)
        else if (chance < 0.3) mesh.mend('home', name)
        else if (chance < 0.34) await place?.gateway.restart()
        else if (place) {
          written.push(`${place.who} ${step}`)
          await place.gateway.say(place.who, place.room, `${place.who} ${step}`)
        }
      }
      for (const name of names) mesh.mend('home', name)
      const texts = async ({ gateway, who, room }: (typeof everywhere)[number]) =>
        (await gateway.rooms.page(gateway.who(who), room, { limit: 1_000 })).messages.map(({ text }) => text)
      const first = { name: 'home', gateway: home, who: 'ada', room: id }
      // Who found an outbox full tries again by itself, a little later.
      const patience = { timeout: 15_000 }
      await expect.poll(async () => (await texts(first)).toSorted(), patience).toEqual(written.toSorted())
      const all = await texts(first)
      for (const place of places) await expect.poll(() => texts(place), patience).toEqual(all)
      for (const { who } of everywhere)
        expect(
          all.filter((text) => text.startsWith(`${who} `)),
          who,
        ).toEqual(written.filter((text) => text.startsWith(`${who} `)))
    }
  })
})

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
