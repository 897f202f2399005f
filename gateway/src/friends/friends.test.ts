/** Two gateways that are friends, over real sockets on loopback; `test/friends.test.ts` has them in networks of their own. */
import { unlimited, type Allowance } from '@sotto/provisioning/registry/allowance.ts'
import { afterEach, describe, expect, it } from 'vitest'
import { serveApi, type ServedApi, type ServeOptions } from '#api/serve.fixture.ts'
import { json, left, ndjson, serveOllama, type Call } from '#engines/upstream.fixture.ts'
import type { Member } from '#identity/caller.ts'
import type { Friend } from './friends.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** What a friend is here. */
function memberOf(name: string, allowance: Partial<Allowance>): Member {
  const tenant = { id: `friend:${name}`, name: `friend-${name}`, disabledAt: null }
  const held = { ...unlimited, services: ['chat', 'embeddings'], models: [], ...allowance }
  return {
    kind: 'device',
    name,
    tenant,
    admin: false,
    held: [{ ...held, subject: `tenant:${tenant.id}`, label: `tenant “${tenant.name}”` }],
  }
}

/**
 * Ada, whose relay Bob joined: Bob dials. Each has a model `tiny` of its own.
 *
 * @param grants what Ada lets Bob use, and how much of it
 */
async function open({
  answer,
  grants = { models: ['*'] },
  backGrants = { models: ['*'] },
  ada: adas = {},
  bob: bobs = {},
}: {
  readonly answer?: (call: Call) => unknown
  readonly grants?: Partial<Allowance>
  readonly backGrants?: Partial<Allowance>
  readonly ada?: ServeOptions
  readonly bob?: ServeOptions
} = {}) {
  const adasOllama = await serveOllama(answer ?? says('Ada'), {
    models: [{ name: 'tiny:latest' }, { name: 'large:7b' }],
    shown: { 'tiny:latest': { capabilities: ['vision'], model_info: {} } },
  })
  const bobsOllama = await serveOllama(says('Bob'))
  const options = { lookEveryMs: 100, pingEveryMs: 100 }
  const ada = await serveApi({ ollama: adasOllama.url, ...options, ...adas })
  const bob = await serveApi({ ollama: bobsOllama.url, ...options, ...bobs })
  closers.push(adasOllama.close, bobsOllama.close, ada.close, bob.close)
  const grant = (allowance: Partial<Allowance>) =>
    ada.friends.update([{ meshId: 'mesh-bob', name: 'bob', member: memberOf('bob', allowance) }])
  const join = (change: Partial<Friend> = {}) =>
    bob.friends.update([
      {
        meshId: 'mesh-ada',
        name: 'ada',
        member: memberOf('ada', backGrants),
        dial: {
          url: `${ada.url.replace('http', 'ws')}/gateway`,
          ca: undefined,
          meshId: 'mesh-bob',
          secret: 'secret of mesh-bob',
        },
        ...change,
      },
    ])
  grant(grants)
  join()
  return { ada, bob, adasOllama, bobsOllama, grant, join }
}

const says =
  (name: string) =>
  ({ response, body }: Call) => {
    const { model } = JSON.parse(body.toString())
    json(response, 200, {
      model,
      message: { role: 'assistant', content: `${name} says hi` },
      done: true,
      prompt_eval_count: 5,
      eval_count: 2,
    })
  }

const namesOf = async ({ url }: ServedApi): Promise<string[]> => {
  const answer = (await (await fetch(`${url}/api/tags`)).json()) as { models: { name: string }[] }
  return answer.models.map(({ name }) => name)
}
const ask = ({ url }: ServedApi, path: string, body: object, init: RequestInit = {}) =>
  fetch(url + path, { method: 'POST', body: JSON.stringify(body), ...init })
const question = [{ role: 'user', content: 'Hi' }]
const chat = (api: ServedApi, model: string) =>
  ask(api, '/api/chat', { model, messages: question, stream: false })
const shows = (api: ServedApi, names: readonly string[]) =>
  expect.poll(() => namesOf(api), { timeout: 5_000 }).toEqual(names)

describe('a friend’s models', () => {
  it('are listed with the friend’s name behind theirs, in each direction, and nothing that was not granted', async () => {
    const { ada, bob, grant } = await open({ grants: { models: ['tiny'] } })
    await shows(bob, ['tiny:latest', 'tiny:latest@ada'])
    await shows(ada, ['tiny:latest', 'large:7b', 'tiny:latest@bob'])
    const { data } = (await (await fetch(`${bob.url}/v1/models`)).json()) as { data: object[] }
    expect(data).toContainEqual(expect.objectContaining({ id: 'tiny:latest@ada', owned_by: 'ada' }))
    grant({ models: ['tiny', 'large*'] })
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    grant({ models: [] })
    await shows(bob, ['tiny:latest'])
  })

  it('are answered by the friend, whose engine is asked by its own name; it counts at both ends', async () => {
    const { ada, bob, adasOllama, bobsOllama } = await open()
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    const answer = await (await chat(bob, 'tiny@ada')).json()
    expect(answer).toMatchObject({ model: 'tiny@ada', message: { content: 'Ada says hi' } })
    expect(adasOllama.calls.map(({ body }) => JSON.parse(body.toString()).model)).toEqual(['tiny'])
    expect(bobsOllama.calls).toEqual([])
    expect(await bob.rows('audit')).toContainEqual(
      expect.objectContaining({
        model: 'tiny:latest@ada',
        backend: '@ada',
        input_tokens: 5,
        output_tokens: 2,
        counted: 'upstream',
      }),
    )
    expect(await ada.rows('audit')).toContainEqual(
      expect.objectContaining({
        model: 'tiny:latest',
        tenant: 'friend-bob',
        device: 'bob',
        address: '127.0.0.1',
        input_tokens: 5,
        output_tokens: 2,
      }),
    )
    // The other way, over the tunnel that Bob holds open.
    expect(await (await chat(ada, 'tiny:latest@bob')).json()).toMatchObject({
      model: 'tiny:latest@bob',
      message: { content: 'Bob says hi' },
    })
  })

  it('stream piece by piece, and end upstream when the client leaves', async () => {
    const written: ((piece: object) => void)[] = []
    const gone: Promise<void>[] = []
    const { bob } = await open({
      answer({ response }) {
        written.push(ndjson(response))
        gone.push(left(response))
      },
    })
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    const client = new AbortController()
    const answer = ask(bob, '/api/chat', { model: 'tiny@ada', messages: question }, { signal: client.signal })
    await expect.poll(() => written.length).toBe(1)
    written[0]?.({ model: 'tiny', message: { content: 'One' }, done: false })
    const reader = (await answer).body?.getReader()
    const first = await reader?.read()
    expect(Buffer.from(first?.value ?? []).toString()).toBe(
      '{"model":"tiny@ada","message":{"content":"One"},"done":false}\n',
    )
    client.abort()
    await gone[0]
  })

  it('say what they are without leaving the list’s name', async () => {
    const { bob } = await open()
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    const shown = await (await ask(bob, '/api/show', { model: 'tiny@ada' })).json()
    expect(shown).toMatchObject({ capabilities: ['vision'] })
  })

  it('are asked for by an allowlist only where it names them', async () => {
    const { bob } = await open({
      bob: {
        keys: { all: { models: ['*'] }, adas: { models: ['*@ada'] }, one: { models: ['large:7b@ada'] } },
      },
    })
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    const listed = async (key: string) => {
      const headers = { 'x-api-key': bob.secrets[key] ?? '' }
      const { models } = (await (await fetch(`${bob.url}/api/tags`, { headers })).json()) as {
        models: { name: string }[]
      }
      return models.map(({ name }) => name)
    }
    expect(await listed('all')).toEqual(['tiny:latest'])
    expect(await listed('adas')).toEqual(['tiny:latest@ada', 'large:7b@ada'])
    expect(await listed('one')).toEqual(['large:7b@ada'])
    const headers = { 'x-api-key': bob.secrets.one ?? '' }
    for (const path of ['/api/generate', '/api/show', '/v1/messages/count_tokens']) {
      const answer = await ask(bob, path, { model: 'tiny@ada', prompt: 'Hi' }, { headers })
      expect([answer.status, await answer.text()], path).toEqual([404, expect.stringContaining('not found')])
    }
  })

  it('are passed on to nobody: a friend of a friend’s is not there', async () => {
    const { ada, bob } = await open()
    await shows(ada, ['tiny:latest', 'large:7b', 'tiny:latest@bob'])
    // What Ada has of Bob's is not told to Bob again, whatever is granted.
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    for (const model of ['tiny@bob@ada', 'tiny:latest@bob@ada']) {
      const answer = await chat(bob, model)
      expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining('ada shares no')])
    }
  })

  it('are never what another model’s name means', async () => {
    const { bob, bobsOllama } = await open({ bob: { aliases: { mine: 'large:7b@ada' } } })
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    await bobsOllama.close()
    await shows(bob, ['tiny:latest@ada', 'large:7b@ada'])
    for (const model of ['tiny', 'tiny:latest', 'large:7b', 'mine'])
      expect((await chat(bob, model)).status, model).toBe(404)
  })
})

describe('what a friend refuses', () => {
  it('for its limits is told with when to come again, in the dialect that was asked', async () => {
    const { bob } = await open({ grants: { models: ['*'], requestsPerMinute: 1 } })
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    expect((await chat(bob, 'tiny@ada')).status).toBe(200)
    const native = await chat(bob, 'tiny@ada')
    expect(native.status).toBe(429)
    expect(Number(native.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await native.json()).toEqual({
      error: expect.stringMatching(/^ada lets this gateway ask only so/),
    })
    const openAi = await ask(bob, '/v1/chat/completions', { model: 'tiny@ada', messages: question })
    expect([openAi.status, await openAi.json()]).toMatchObject([
      429,
      { error: { type: 'rate_limit_error', code: 'rate_limit_exceeded' } },
    ])
    const anthropic = await ask(bob, '/v1/messages', { model: 'tiny@ada', messages: question, max_tokens: 5 })
    expect([anthropic.status, await anthropic.json()]).toMatchObject([
      429,
      { type: 'error', error: { type: 'rate_limit_error' } },
    ])
  })

  it('for a budget that is spent can’t be helped by trying again', async () => {
    const { bob } = await open({ grants: { models: ['*'], tokensPerDay: 1 } })
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    const answer = await ask(bob, '/v1/chat/completions', { model: 'tiny@ada', messages: question })
    expect(answer.status).toBe(429)
    expect(answer.headers.get('x-should-retry')).toBe('false')
    const text = await answer.text()
    expect(JSON.parse(text).error).toMatchObject({
      code: 'insufficient_quota',
      message: expect.stringContaining('The budget that ada gives this gateway is spent.'),
    })
    expect(text).not.toMatch(/127\.0\.0\.1|secret|friend-bob/)
  })

  it('altogether is told with whom to ask', async () => {
    const { ada, bob } = await open({ grants: { models: ['*'], services: ['embeddings'] } })
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    const answer = await chat(bob, 'tiny@ada')
    expect([answer.status, await answer.text()]).toEqual([
      403,
      expect.stringContaining('ada does not let this gateway use that.'),
    ])
    expect(await ada.rows('audit')).toContainEqual(
      expect.objectContaining({ tenant: 'friend-bob', status: 403 }),
    )
  })
})

describe('a friend that', () => {
  it('is away says so, and is there again by itself', async () => {
    const { bob, join } = await open()
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    const dial = { url: 'ws://127.0.0.1:9/gateway', ca: undefined, meshId: 'mesh-bob', secret: 'x' }
    join({ dial })
    await shows(bob, ['tiny:latest'])
    const answer = await chat(bob, 'tiny@ada')
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).toBe('5')
    expect(await answer.json()).toEqual({ error: expect.stringContaining('ada’s gateway is away.') })
    join()
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    expect((await chat(bob, 'tiny@ada')).status).toBe(200)
  })

  it('is one no more loses what it has open, and the other end says so in its dialect', async () => {
    const gone: Promise<void>[] = []
    const { ada, bob } = await open({
      answer({ response, route }) {
        gone.push(left(response))
        if (route === 'POST /api/chat')
          return ndjson(response)({ model: 'tiny', message: { content: 'On' }, done: false })
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write('data: {"model":"tiny","choices":[{"delta":{"content":"On"}}]}\n\n')
      },
    })
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    const native = await ask(bob, '/api/chat', { model: 'tiny@ada', messages: question })
    const openAi = await ask(bob, '/v1/chat/completions', {
      model: 'tiny@ada',
      messages: question,
      stream: true,
    })
    ada.friends.update([])
    expect(await native.text()).toMatch(/\n\{"error":"ada’s gateway broke off before[^\n]*\n$/)
    expect(await openAi.text()).toMatch(/data: \{"error":\{"message":"ada’s gateway broke off[^\n]*\n\n$/)
    await Promise.all(gone)
    await shows(bob, ['tiny:latest'])
    await shows(ada, ['tiny:latest', 'large:7b'])
  })

  it('has not the secret, or is none, opens no tunnel', async () => {
    const { ada, bob, join } = await open()
    await shows(bob, ['tiny:latest', 'tiny:latest@ada', 'large:7b@ada'])
    const url = `${ada.url.replace('http', 'ws')}/gateway`
    join({ dial: { url, ca: undefined, meshId: 'mesh-bob', secret: 'guess' } })
    await shows(bob, ['tiny:latest'])
    join({ dial: { url, ca: undefined, meshId: 'mesh-eve', secret: 'secret of mesh-eve' } })
    await expect
      .poll(async () => (await ada.rows('audit')).map(({ refusal }) => refusal), { timeout: 5_000 })
      .toEqual(expect.arrayContaining(['unauthorized', 'forbidden']))
    expect(await namesOf(bob)).toEqual(['tiny:latest'])
  })
})
