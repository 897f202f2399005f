import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { RoomDraft } from '#protocol/rooms.ts'
import { nobodySpecial } from '#realtime/account.fixture.ts'
import { Failure } from '../failure.ts'
import { calledIn } from './assistant.ts'
import { createMesh, engineThat, openGateway, type Gateway, type GatewayOptions } from './gateways.fixture.ts'

async function* pieces(...texts: readonly string[]) {
  for (const text of texts) {
    await pause(1)
    yield text
  }
}

async function opened(options: Omit<GatewayOptions, 'people'>) {
  const home = await openGateway(createMesh(), 'home', { people: ['ada', 'bob'], ...options })
  const { id } = await home.rooms.create(home.who('ada'), { name: 'kitchen', instructions: 'Speak of food.' })
  await home.rooms.addPerson(home.who('ada'), id, 'bob')
  return { home, id, ...watched(home) }
}

/** What each of them sees being written. */
function watched({ rooms, who }: Gateway) {
  const drafts = { ada: new Array<RoomDraft>(), bob: new Array<RoomDraft>() }
  for (const name of ['ada', 'bob'] as const)
    rooms.follow(who(name), (event) => {
      if (event.type === 'draft') drafts[name].push(event.draft)
    })
  return { drafts }
}

describe('the assistant in a room', () => {
  it('is called by its name or a model’s, and by nothing that only looks like it', () => {
    const models = ['llama3.2:latest', 'qwen3:8b', 'mistral:latest@friend', 'qwen3:4b@friend']
    const cases = {
      '@sotto what is new?': '',
      'Hey @Sotto, what is new?': '',
      '(@sotto)': '',
      'Tell us, @llama3.2.': 'llama3.2:latest',
      '@llama3.2:latest go': 'llama3.2:latest',
      '@qwen3 or @sotto?': 'qwen3:8b',
      '@mistral@friend?': 'mistral:latest@friend',
      '@mistral:latest@friend': 'mistral:latest@friend',
      '@qwen3@friend!': 'qwen3:4b@friend',
      '@mistral': undefined,
      'ada@sotto.example wrote': undefined,
      '@sottovoce': undefined,
      sotto: undefined,
      '@bob': undefined,
    }
    for (const [text, model] of Object.entries(cases)) expect(calledIn(text, models), text).toBe(model)
  })

  it('answers with what was said before it, under the name of whoever called it', async () => {
    const heard: string[] = []
    const { home, id, drafts } = await opened({
      engines: engineThat((model, prompt) => {
        heard.push(...prompt.map(({ role, content }) => `${role} ${content}`))
        return pieces('Bread ', 'and ', `${model}. @sotto`)
      }),
    })
    await home.say('bob', id, 'We have flour')
    const question = await home.say('ada', id, '@qwen3 what can we make?')
    await expect.poll(() => home.said('bob', id)).toHaveLength(3)
    const { messages } = await home.rooms.page(home.who('bob'), id, { limit: 9 })
    expect(messages.at(-1)).toMatchObject({
      text: 'Bread and qwen3:8b. @sotto',
      model: 'qwen3:8b',
      reply: question,
      author: { name: 'ada', person: 'ada' },
    })
    expect(heard).toEqual([
      expect.stringMatching(/^system .*“kitchen”[\s\S]*Speak of food\.$/),
      'user bob: We have flour',
      'user ada: @qwen3 what can we make?',
    ])
    await expect.poll(() => drafts.bob.at(-1)?.state).toBe('ended')
    expect(drafts.bob.map(({ state }) => state)).toContain('writing')
    expect(drafts.bob[0]?.id).toBe(messages.at(-1)?.id)
    // It has called itself, and nobody answers that.
    await pause(50)
    expect(await home.said('bob', id)).toHaveLength(3)
    expect(await home.rooms.room(home.who('bob'), id)).toMatchObject({ unread: 2 })
  })

  it('answers to its name with the room’s model, and with the first where there is none', async () => {
    const { home, id } = await opened({ engines: engineThat((model) => pieces(model)) })
    await home.say('ada', id, '@sotto?')
    await expect.poll(async () => (await home.said('ada', id)).at(-1)).toBe('ada: llama3.2:latest')
    await home.rooms.change(home.who('ada'), id, { model: 'qwen3:8b' })
    await home.say('bob', id, '@sotto?')
    await expect.poll(async () => (await home.said('ada', id)).at(-1)).toBe('bob: qwen3:8b')
  })

  it('asks a friend’s engine only where somebody named it', async () => {
    const models = ['mistral:latest@friend', 'llama3.2:latest']
    const { home, id } = await opened({ engines: engineThat((model) => pieces(model), models) })
    await home.say('ada', id, '@sotto?')
    await expect.poll(async () => (await home.said('ada', id)).at(-1)).toBe('ada: llama3.2:latest')
    await home.say('ada', id, '@mistral@friend?')
    await expect.poll(async () => (await home.said('ada', id)).at(-1)).toBe('ada: mistral:latest@friend')
  })

  it('says what went wrong to its caller alone, and what is written by then stays', async () => {
    const { home, id, drafts } = await opened({
      engines: engineThat((model) =>
        model.startsWith('qwen3')
          ? (async function* () {
              yield 'Half of an'
              throw new Failure('bad_upstream', 'The engine broke off.')
            })()
          : pieces(),
      ),
    })
    await home.say('ada', id, '@llama3.2?')
    await expect
      .poll(() => drafts.ada.at(-1))
      .toMatchObject({
        state: 'failed',
        problem: 'llama3.2:latest answered with nothing.',
      })
    expect(await home.said('ada', id)).toHaveLength(1)
    await home.say('ada', id, '@qwen3?')
    await expect.poll(() => drafts.ada.at(-1)?.problem).toBe('The engine broke off.')
    expect((await home.said('ada', id)).at(-1)).toBe('ada: Half of an …')
    expect(drafts.bob.filter(({ state }) => state === 'failed')).toEqual([])
  })

  it('is held to the limits of its caller', async () => {
    const settled: object[] = []
    const rows: object[] = []
    const { home, id, drafts } = await opened({
      engines: engineThat(() => pieces('Yes')),
      recorder: {
        ...nobodySpecial.recorder,
        ledger: { record: (row) => void rows.push(row), keepPrompt() {} },
      },
      admission: {
        mayUse: (_, model) => model.startsWith('qwen3'),
        async admit(caller, { service, model, tokens }) {
          if (caller.personId === 'bob') throw new Failure('quota', 'Your budget is spent.')
          return {
            headers: {},
            output: tokens?.output,
            settle: ({ input, output }) => settled.push({ service, model, input, output }),
          }
        },
      },
    })
    // A model that one may not use does not exist for one.
    await home.say('ada', id, '@llama3.2 are you there?')
    await home.say('ada', id, '@sotto and you?')
    await expect.poll(() => home.said('ada', id)).toHaveLength(3)
    expect(settled).toEqual([{ service: 'rooms', model: 'qwen3:8b', input: expect.any(Number), output: 1 }])
    await home.say('bob', id, '@sotto?')
    await expect.poll(() => drafts.bob.at(-1)?.problem).toBe('Your budget is spent.')
    const row = { method: 'POST', path: `/sotto/rooms/${id}/messages`, service: 'rooms', model: 'qwen3:8b' }
    expect(rows).toMatchObject([
      { ...row, person: 'ada', status: 200, refusal: null, output_tokens: 1 },
      { ...row, person: 'bob', status: 429, refusal: 'quota', output_tokens: 0 },
    ])
  })

  it('is stopped by whoever called it, with what it has written', async () => {
    const { home, id, drafts } = await opened({
      engines: engineThat(async function* (_, __, signal) {
        yield 'I could go on'
        await pause(60_000, undefined, { signal })
        yield ' and on'
      }),
    })
    await home.say('ada', id, '@sotto tell me everything')
    await expect.poll(() => drafts.bob.at(-1)?.text).toBe('I could go on')
    const draft = drafts.bob.at(-1)?.id ?? ''
    expect(() => home.rooms.stop(home.who('bob'), draft)).toThrow('no such answer')
    home.rooms.stop(home.who('ada'), draft)
    await expect.poll(async () => (await home.said('bob', id)).at(-1)).toBe('ada: I could go on …')
    await expect.poll(() => drafts.ada.at(-1)?.state).toBe('ended')
  })

  it('answers on the gateway of whoever called it, and nobody else’s message calls it', async () => {
    const mesh = createMesh()
    const asked: string[] = []
    const engines = (name: string) =>
      engineThat(() => {
        asked.push(name)
        return pieces(`from ${name}`)
      })
    const home = await openGateway(mesh, 'home', { people: ['ada'], engines: engines('home') })
    const friend = await openGateway(mesh, 'friend', { people: ['carol'], engines: engines('friend') })
    const { id } = await home.rooms.create(home.who('ada'), { name: 'garden' })
    await home.rooms.inviteFriend(home.who('ada'), id, 'friend')
    await mesh.settle()
    const [invitation] = (await friend.rooms.list(friend.who('carol'))).invitations
    await friend.rooms.accept(friend.who('carol'), invitation?.id ?? '', ['carol'])
    await mesh.settle()
    await friend.say('carol', await friend.room('carol', 'garden'), '@sotto when do beans grow?')
    await expect
      .poll(() => home.said('ada', id), { timeout: 5_000 })
      .toEqual(['carol@friend: @sotto when do beans grow?', 'carol@friend: from friend'])
    expect(asked).toEqual(['friend'])
    const { messages } = await home.rooms.page(home.who('ada'), id, { limit: 9 })
    expect(messages.at(-1)).toMatchObject({ model: 'llama3.2:latest' })
  })

  it('answers one person ten times a minute', async () => {
    const { home, id, drafts } = await opened({ engines: engineThat(() => pieces('Yes')) })
    for (let at = 1; at <= 10; at += 1) {
      await home.say('ada', id, '@sotto?')
      await expect.poll(async () => (await home.said('ada', id)).length).toBe(2 * at)
    }
    await home.say('ada', id, '@sotto?')
    await expect.poll(() => drafts.ada.at(-1)?.problem ?? '').toContain('10 times within a minute')
  })
})
