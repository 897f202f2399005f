/** A session whose answers come from a friend's gateway, and those that never do. */
import { afterEach, describe, expect, it } from 'vitest'
import type { ClientEventInput } from '#protocol/events.ts'
import { connectTalk, serveTalk, states } from './talk.fixture.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const withModels = (...models: string[]) => ({ ...states, chat: { ...states.chat, models } })

async function open(models: readonly string[], query = '') {
  const talk = await serveTalk()
  talk.change(withModels(...models))
  const client = await connectTalk(talk, { query })
  closers.push(talk.close, () => client.socket.terminate())
  await client.until('x.engines')
  await client.byHand()
  await client.asText()
  const say = async (text: string) => {
    const item: ClientEventInput = {
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
    }
    client.send(item)
    client.send({ type: 'response.create' })
    await client.until('response.done')
  }
  const modelOf = () => client.all('session.updated').at(-1)?.session.model
  return { talk, ...client, say, modelOf }
}

describe('a session', () => {
  it('is answered by a friend’s model that was asked for by its name, with or without its tag', async () => {
    const { talk, say } = await open(['tiny', 'large:latest@ada'], '?model=large%40ada')
    await say('Hi')
    expect(talk.chats.map(({ model }) => model)).toEqual(['large:latest@ada'])
  })

  it('that names a model which nobody has is answered in the house, whatever stands first', async () => {
    const { talk, say, modelOf } = await open(['large@ada', 'tiny'], '?model=gpt-realtime')
    expect(modelOf()).toBe('tiny')
    await say('Hi')
    expect(talk.chats.map(({ model }) => model)).toEqual(['tiny'])
  })

  it('has no model where there are only friends’, until one is asked for', async () => {
    const { modelOf, send } = await open(['large@ada'])
    expect(modelOf()).toBeNull()
    send({ type: 'session.update', session: { model: 'large@ada' } })
    await expect.poll(modelOf).toBe('large@ada')
  })

  it('stays with its friend that goes away: nobody else is asked in its place', async () => {
    const { talk, say } = await open(['tiny', 'large@ada'], '?model=large%40ada')
    talk.change(withModels('tiny'))
    await say('Are you there?')
    expect(talk.chats.map(({ model }) => model)).toEqual(['large@ada'])
  })

  it('refuses a friend’s model that is not there', async () => {
    const { all, send, until } = await open(['tiny'])
    send({ type: 'session.update', session: { model: 'large@ada' } })
    await until('error')
    expect(all('error').at(-1)).toMatchObject({ error: { code: 'model_not_found' } })
  })
})
