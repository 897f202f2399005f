/**
 * Every route of `/openapi.json`, asked in every way it should not be: what comes back is never a 500, always an
 * error as its clients read it, and holds no stack, no address of an engine and no secret.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDatabase } from '@sotto/provisioning/database.ts'
import { createExchange } from '@sotto/provisioning/enrolment/exchange.ts'
import { makeKeyPair } from '@sotto/provisioning/overlay/keys.ts'
import { insertNetwork } from '@sotto/provisioning/registry/network.ts'
import { Registry } from 'prom-client'
import { afterAll, describe, expect, it } from 'vitest'
import { openConversations } from '#conversations/conversations.ts'
import { json, serveOllama, serveWhisperCpp } from '#engines/upstream.fixture.ts'
import { serveAdmin } from './admin/admin.fixture.ts'
import { serveAccounts } from './account/account.fixture.ts'
import { conversationRoutes } from './conversations.ts'
import { fuzz } from './fuzz.fixture.ts'
import { createMesh, engineThat, openGateway } from '#rooms/gateways.fixture.ts'
import { overlayRoutes } from './overlay.ts'
import { roomRoutes } from './rooms.ts'
import { readConfig } from '../config.ts'
import { start } from '../main.ts'
import { network, serveApi } from './serve.fixture.ts'

const closers: (() => unknown)[] = []
afterAll(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

describe('whatever is asked', () => {
  it(
    'of the models, conversations and the overlay, the answer is one that its clients can read',
    { timeout: 120_000 },
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'sotto-fuzz-'))
      closers.push(() => rm(folder, { recursive: true }))
      const ollama = await serveOllama(({ response }) =>
        json(response, 200, { message: { content: 'Hi' }, done: true }),
      )
      const whisper = await serveWhisperCpp(({ response }) => json(response, 200, { text: 'Hi' }))
      const conversations = await openConversations({
        file: join(folder, 'conversations.db'),
        log: { error() {} },
      })
      const database = await openDatabase(join(folder, 'sotto.db'))
      const hub = makeKeyPair()
      await insertNetwork(database, { ...network, publicKey: hub.publicKey })
      const exchange = createExchange(hub.privateKey)
      const api = await serveApi({
        ollama: ollama.url,
        whisper: whisper.url,
        keys: { all: {} },
        more: [
          ...conversationRoutes(conversations),
          ...overlayRoutes({ database, exchange, follow: async () => {}, metrics: new Registry() }),
        ],
      })
      closers.push(
        ollama.close,
        whisper.close,
        () => conversations.close(),
        () => database.destroy(),
        api.close,
      )
      const secrets = [ollama.url.slice(7), whisper.url.slice(7), hub.privateKey, folder]
      const { all = '' } = api.secrets
      const open = await fuzz({ url: api.url, headers: {}, secrets: [...secrets, all] })
      expect(open[200]).toBeGreaterThan(0)
      await fuzz({ url: api.url, headers: { authorization: `Bearer ${all}` }, secrets: [...secrets, all] })
      const good = { model: 'tiny', messages: [{ role: 'user', content: 'Hi' }] }
      const answer = await fetch(`${api.url}/api/chat`, { method: 'POST', body: JSON.stringify(good) })
      expect(await answer.json()).toMatchObject({ message: { content: 'Hi' } })
    },
  )

  it(
    'of the admin’s routes, by a confirmed page, the answer is one that it can read',
    { timeout: 120_000 },
    async () => {
      const admin = await serveAdmin()
      closers.push(admin.close)
      const cookie = await admin.confirm()
      const { host, port } = new URL(admin.origin)
      const target = {
        url: `http://127.0.0.1:${port}`,
        secrets: [cookie, admin.directory, admin.phone.presharedKey],
      }
      const counts = await fuzz({ ...target, headers: { host, origin: admin.origin, cookie } })
      expect(counts[400]).toBeGreaterThan(0)
      expect((await admin.ask('/sotto/admin/overview')).status).toBe(200)
    },
  )

  it('of rooms, by who is a person', { timeout: 120_000 }, async () => {
    const home = await openGateway(createMesh(), 'home', {
      people: ['ada', 'bob'],
      engines: engineThat(async function* () {
        yield 'Hi'
      }),
    })
    const recorder = { opened: () => () => {} }
    const api = await serveApi({ more: roomRoutes({ rooms: home.rooms, recorder }), keys: { all: {} } })
    closers.push(api.close)
    const { all = '' } = api.secrets
    const counts = await fuzz({
      url: api.url,
      headers: { 'x-api-key': all },
      secrets: [all],
      below: '/sotto/rooms',
    })
    expect(counts[400]).toBeGreaterThan(0)
  })

  it('of accounts, by a stranger and by who has signed in', { timeout: 120_000 }, async () => {
    const accounts = await serveAccounts()
    closers.push(accounts.close)
    const password = 'four or five words'
    await accounts.join('Ada', password)
    const { cookies } = await accounts.signIn('Ada', password, accounts.phone.address4)
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const { host } = new URL(accounts.origin)
    const target = {
      url: accounts.url,
      member: accounts.phone.address4,
      secrets: [password, ...cookies.values()],
    }
    const own = { host, origin: accounts.origin }
    await fuzz({ ...target, headers: own, from: accounts.visitor().from })
    await fuzz({ ...target, headers: { ...own, cookie }, from: accounts.phone.address4 })
  })

  it(
    'of a gateway as it is started, by its own machine, every route answers so',
    { timeout: 240_000 },
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'sotto-fuzz-'))
      closers.push(() => rm(folder, { recursive: true }))
      const ollama = await serveOllama(({ response }) =>
        json(response, 200, { message: { content: 'Hi' }, done: true }),
      )
      closers.push(ollama.close)
      const config = join(folder, 'config.yaml')
      const service = `{ name: rerank, upstream: ${ollama.url}, paths: [/v1/rerank] }`
      await writeFile(config, `services: [${service}]\nimages: { engine: openai, url: ${ollama.url} }\n`)
      const progress = { step: <T>(_: string, task: () => Promise<T>) => task(), notice() {} }
      const state = join(folder, 'state')
      const gateway = await start(
        readConfig({ state, loopback: true, port: 0, config, ollama: ollama.url }),
        { web: folder, admin: 'ada', progress },
      )
      closers.push(() => gateway.close())
      const key = await readFile(join(state, 'hub.key'), 'utf8')
      const [url = ''] = gateway.origins
      const counts = await fuzz({
        url,
        headers: {},
        secrets: [ollama.url.slice(7), key.trim()],
        more: ['/users/{person}/{machine}/{path}', '/services/rerank/v1/rerank', '/services/{name}/{path}'],
      })
      expect(counts[200]).toBeGreaterThan(0)
      expect(counts[400]).toBeGreaterThan(0)
    },
  )
})
